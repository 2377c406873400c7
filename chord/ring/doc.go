// Package ring places keys on members: identifiers, the five hashes of a key,
// tokens, owner sets, configurations, quorums and Chord's fingers.
//
// It is pure: no goroutines, clocks, sockets, files or logs, and it imports the
// standard library only.
//
// Sources: Chord (Stoica et al. 2001) for the identifier circle, successors and
// fingers; Dynamo (DeCandia et al. 2007, section 6.2) for tokens; Raft (Ongaro
// 2014, section 4.3) for joint configurations. docs/divergence.md lists where
// we differ and why.
package ring
