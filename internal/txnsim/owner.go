package txnsim

import (
	"maps"
	"slices"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/session"
)

// owner ends lifetimes at one node. All nodes own all keys, in different orders.
type owner struct {
	r *run
	n *node
	// speed and start make the node's own clock.
	speed float64
	start time.Duration
	// cells is what the node has, which may be old.
	cells     map[string]register.Value
	lifetimes *session.Lifetimes
	// frozen is until when the node is stopped.
	frozen time.Duration
}

const (
	// tolerance is how much faster or slower than true time a clock runs, at most.
	tolerance = 0.0075
	ownerStep = 50 * time.Millisecond
	// atOnce is how many lifetimes a node looks at in one go.
	atOnce = 4
)

func (r *run) speed() float64 { return 1 + (2*r.Rand.Float64()-1)*tolerance }

// owners lets each node end lifetimes.
func (r *run) owners() {
	for _, n := range r.nodes {
		n.owner = &owner{r: r, n: n, speed: r.speed(), start: r.Between(0, 10*time.Minute), cells: map[string]register.Value{}}
		n.owner.restart()
		n.owner.look()
	}
}

func (o *owner) restart() { o.lifetimes = session.NewLifetimes(ownerStep, 1000) }

// clock is the node's own clock, which runs steadily.
func (o *owner) clock() time.Duration {
	return o.start + time.Duration(float64(o.r.Now)*o.speed)
}

// look takes in what the node has, and ends what is due, again and again.
func (o *owner) look() {
	r := o.r
	r.After(r.Between(5*time.Millisecond, 25*time.Millisecond), func() {
		defer o.look()
		if r.faulty && r.Chance(0.005) {
			o.frozen = r.Now + r.Between(0, time.Second)
		}
		if r.Now < o.frozen {
			return
		}
		for _, key := range slices.Sorted(maps.Keys(r.held)) {
			if r.Chance(0.8) {
				o.cells[key] = r.held[key]
			}
		}
		for _, key := range slices.Sorted(maps.Keys(o.cells)) {
			v := o.cells[key]
			if _, ok := r.held[key]; !ok {
				v = register.Value{}
				delete(o.cells, key)
			}
			o.lifetimes.Saw(o.clock(), key, &v)
		}
		for _, due := range o.lifetimes.Due(o.clock(), atOnce, o.rank) {
			e := r.spawnPort(backgroundTime)
			e.n, e.expires, e.began = o.n, true, r.Now
			e.p.Spawn(func() { _ = session.Expire(o.n.c, e, due, r.named(e)) }, func() {})
		}
	})
}

// rank is the node's place among the owners of a key that are not stopped.
func (o *owner) rank(key string) (n int) {
	for i := range members {
		other := o.r.nodes[(o.r.holder[key]+i)%members]
		if other == o.n {
			break
		}
		if o.r.Now >= other.owner.frozen {
			n++
		}
	}
	return n
}

// named asks each member for the keys that name a session.
func (r *run) named(e *port) session.Named {
	return func(id string) (keys []string, err error) {
		err = e.Each(members, func(m int) error {
			return e.call(false, func() {
				for _, key := range slices.Sorted(maps.Keys(r.held)) {
					v := r.held[key]
					if now, then := v.Names(); r.holder[key] == m && (now == id || then == id && !blindIndex) {
						keys = append(keys, key)
					}
				}
			})
		})
		return keys, err
	}
}
