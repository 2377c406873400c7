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
//
// # Fences
//
// A write made with the fence (L, t) leaves a value with that tag. Once Fence(L, T)
// has returned, T > t, no such write may surface that had not taken effect before.
// The procedure is chord/fence; each attempt (T, n) has a number of its own from the
// lock's fence register, which also decides which attempt is sealed, by a conditional
// change.
//
// Install. All but at most f members of each side install (T, n), in one epoch:
// call them S. From then on they accept no old-tagged value, but those that (T, n)
// itself settles, which say so (Tag.Pass). S holds a majority of the owners of every
// key, so that no old-tagged ballot gets a majority any more that no owner in S has
// accepted already.
//
// Undo. A tagged value is made only on top of a cell that is known to be chosen, and
// carries that cell. So an owner that takes it, and does not know of the fence, loses
// nothing: if the write is dead, the owner counts as one that holds the cell
// underneath. And nothing is built on a tagged value in doubt: an identity round
// chooses it first. It keeps the tag, so that who knows of the fence refuses it.
//
// Settle. Each of S lists its cells that Concern L: tagged with L, or with a tagged
// write somewhere below (Value.WasTagged). Say that an old-tagged v was chosen at b.
// Then some owner in S accepted b, before it installed, and holds that or what was
// built on it: it lists the key. If all owners in S hold one cell, that is chosen,
// and every quorum meets it. Else the key is settled: an identity round of the
// fencing node, with the Pass, chooses something anew, v included.
//
// Seal. Only once every key is settled does the attempt become the sealed one. From
// then on an old-tagged cell counts in a round if a quorum of promises agrees on
// it (it is chosen), if it has the Pass of the sealed attempt (it was settled), or if
// its holder is in S (it was chosen, or something above it was that every quorum
// meets). Else it is dead. It is not chosen, by the above, and will not be: who knows
// of the fence neither accepts nor proposes it, and they are in every quorum. What a
// dead cell hides is what it carries. So whatever an old holder has left at members
// outside of S never surfaces, and nothing that was chosen is lost.
//
// While an attempt is installed and not sealed, nobody but the fencing node can tell
// what counts: a round that meets such a cell as the highest waits, and has its node
// complete the fence (Ready.Unsealed). An attempt that is given up leaves cells with
// its Pass; they are old-tagged for the next attempt like all others, which is why
// settling must not take the tag off.
//
// Late members learn of a fence by anti-entropy, with a promise or by a refusal. They
// refuse from then on; what they hold stays judged by S. A member that copies for a
// new configuration takes the table first, and no old-tagged cell afterwards: givers
// in S take off tags that are settled (Clean), and where a doubt is left, in what it
// is given or in what it has, the key is written anew (Adopt, Learn) before the sync
// can end. So a majority by New holds, without old tags, all that was chosen.
// One of the givers is in S, and gives the table as it was when it installed.
//
// A newer token is another attempt. What is dead by the seal before it stays dead,
// since whoever settles knows that seal: it stands in the same register.
package register
