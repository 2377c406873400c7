// Package chord is a node of the ring: it joins the pure protocol (ring and
// register) to a store, a mesh and gossip, and is the backend.Backend that hosts
// use. A member owns keys; a client (js2p's leech) owns nothing and proposes and
// reads as a member does.
package chord
