// Package fence brings fences into force: it is the procedure that the holder of a
// lock runs before it writes, and that anybody may complete. What acceptors and
// proposers do about fences is in chord/register, with the reasons.
//
// It is pure like chord/txn: it calls an interface, which the simulation and the
// real node have each.
package fence
