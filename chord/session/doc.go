// Package session makes sessions out of registers, and ends what has a lifetime:
// sessions that nobody renews, lock delays, and keys that expire.
//
// No two clocks are compared, nor is a clock with a timestamp. A register that has
// a lifetime ends when an owner has seen the same index of it for the whole
// lifetime on its own clock, and then changes it on condition of that index. A
// renewal, or any other write, in between has another index: the change is refused
// and the lifetime starts anew. So a session lives for its TTL from when its holder
// sent the last renewal that was acknowledged, whichever owner ends it, and
// whatever the owners' clocks say. (Gray and Cheriton 1989 call such a thing a
// lease; here only its length is agreed on, not its end.)
//
// A session that ends is dead for good. The keys that it held say so only once they
// are released: whoever reads one does that itself (package txn), and who ends the
// session sweeps the others. The register of an ended session stays for its lock
// delay, and until all its keys were released.
//
// The package is pure: it waits, reads and writes through txn.Registers only.
package session
