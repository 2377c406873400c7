// Package gossip finds the nodes of a ring and sees them fail. It wraps
// hashicorp/memberlist (SWIM, Das et al. 2002, with the extensions of Lifeguard,
// Dadgar et al. 2018) and spreads which ring and which epoch each node is in.
//
// Gossip spreads and suspects; it never decides. What a ring's owners are is in
// its configuration, which the owners agree on.
//
// What this package adds to memberlist:
//   - a door: nodes of another ring are refused, see door.go;
//   - Suspect as a state that can be watched: memberlist keeps it to itself, so
//     a node pings the others and says Suspect of one that does not answer, see
//     watch.go;
//   - Left told apart from Dead, see intent.go;
//   - a node that is alone, or that misses a member, calls again, see rejoin.go;
//   - two nodes with one name are told so, see rival.go;
//   - Close waits for connections and goroutines, see wire.go.
package gossip
