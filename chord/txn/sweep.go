package txn

import "github.com/chord-plugin/chord-plugin/chord/register"

// Sweep finishes transactions that nobody finishes: given the IDs of statuses
// that exist, again and again, it brings each to its end that this node has known
// for longer than the timeout. It returns how many it left for later.
func (c *Coordinator) Sweep(r Registers, ids []ID) (left int, err error) {
	for _, id := range ids {
		if c.known(id, r.Now()) < c.cfg.Timeout {
			left++
			continue
		}
		st, err := status(r, id)
		if err == nil && st.State != register.Absent {
			_, err = c.finish(r, id, st.Keys)
		}
		if err != nil {
			return left, unavailable(id.Key(), err)
		}
	}
	return left, nil
}
