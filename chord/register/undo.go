package register

import (
	"time"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// The register that holds the ring's configuration decides, in a joint
// configuration, how that ends. To go back to Old must be possible without New: of
// one member that a second one joined and died, the second would be half of every
// quorum for ever.
//
// So the change that goes back is decided by a majority of the owners by Old alone.
// Every other quorum of the epoch holds such a majority too, so any two meet and
// the register still chooses one value; and the epoch after it is Old's, in which
// that majority is a quorum. What is found that way may be less than chosen, as New
// did not have to agree: see what SubmitByOld promises.

// SubmitByOld is Submit of a change that the owners by Old decide alone. It is for
// the one register above, for the change that goes back to Old, and for the
// identity change that looks whether that may be tried. A value that it finds, and
// did not write, is chosen only if it is one that SubmitByOld wrote. In a final
// configuration it is the same as Submit.
func (s *Shard) SubmitByOld(now Now, token uint64, key string, c Change, timeout time.Duration) {
	if !s.begin(now) {
		return
	}
	s.submit(&op{token: token, key: key, change: c, byOld: true}, timeout)
	s.drain()
}

// queueName names the queue of an operation: those that Old decides alone share no
// round with others.
func (o *op) queueName() string {
	if o.byOld {
		return o.key + "\x00by old"
	}
	return o.key
}

// owners returns the owners that decide what is in a queue.
func (s *Shard) owners(q *queue) ring.Group {
	g := s.placement.Group(q.key)
	if q.byOld {
		return g.Old()
	}
	return g
}
