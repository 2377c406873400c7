// Package mesh carries messages between the nodes of one ring over TCP: one
// multiplexed connection a peer, kept in a routing table by node ID.
//
// Send is one way, Call is a request with one response. The mesh never repeats
// a frame: what was queued or in flight when a connection broke is dropped, so
// a message arrives at most once. The register protocol depends on that.
//
// A frame is a 4-byte length, then kind, type, request ID and body. Bodies are
// msgpack; a body that is already bytes travels as one msgpack bin. Senders
// append frames to the connection's queue, and a writer empties the queue into
// one write, so that frames that wait together share a system call.
//
// With more members than MaxOutgoing a node keeps its successors and Chord
// fingers connected (Stoica et al. 2001, section 4.3) and reaches the others
// through the closest preceding one, in a relay envelope with a hop limit.
//
// The words are js2p's where it had them: routing table, awaiting connections,
// the 'peers' message, MaxOutgoing.
package mesh
