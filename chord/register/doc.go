// Package register is the consensus protocol of one key: a register kept by the
// key's owners, without a log, a leader or a group.
//
// It is pure. A Shard takes messages, operations, ticks and "this is durable
// now"; it hands out what to make durable, what to send and what to answer. The
// simulation and the real node drive this very code.
//
// Sources: CASPaxos (Rystsov 2018) for the register and its change functions;
// Paxos Made Simple (Lamport 2001) for ballots, promises and acceptance; RMWPaxos
// (Skrzypczak et al. 2020) for registers that are changed in place; hybrid
// logical clocks (Kulkarni et al. 2014) for the ballots' timestamps.
// docs/divergence.md lists where we differ and why.
package register
