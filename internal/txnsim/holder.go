package txnsim

import (
	"errors"
	"fmt"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/session"
)

// holder is who makes a session and renews it.
type holder struct {
	register.Session
	id    string
	speed float64 // of its clock
	// sent is when it sent what was acknowledged, the creation first; renewed is when
	// a register was renewed last.
	sent    []time.Duration
	renewed time.Duration
	// ended is when the session ended, if it has.
	ended   time.Duration
	over    bool
	expired bool
}

// keep makes a session and renews it, until the run ends or the session does; then
// it makes another.
func (r *run) keep() {
	if r.Now >= r.until {
		return
	}
	h := &holder{id: fmt.Sprintf("s%d", len(r.sessions)+1), speed: r.speed()}
	switch x := r.Rand.Float64(); {
	case x < 0.7:
		h.TTL = r.Between(100*time.Millisecond, 700*time.Millisecond)
	case x < 0.85:
		h.TTL = r.Between(time.Second, 2*time.Second)
	}
	if r.Chance(0.5) {
		h.Delay = r.Between(50*time.Millisecond, 400*time.Millisecond)
	}
	h.Delete = r.Chance(0.5)
	r.sessions = append(r.sessions, h)
	r.stats.Sessions++
	r.asHolder(h, func(e *port) error {
		_, err := session.Create(e, h.id, h.Session)
		return err
	}, func(err error) {
		if err != nil {
			r.keep()
			return
		}
		r.renew(h)
	})
}

// renew renews a session in time, or is stopped for longer than that.
func (r *run) renew(h *holder) {
	pause := h.TTL / 3
	if h.TTL == 0 {
		pause = time.Second
	}
	if r.Chance(0.15) {
		pause = r.Between(pause, 1+10*pause)
	}
	r.After(time.Duration(float64(pause)/h.speed), func() {
		if r.Now >= r.until {
			return
		}
		r.asHolder(h, func(e *port) error {
			_, err := session.Renew(e, h.id)
			return err
		}, func(err error) {
			if errors.Is(err, session.ErrEnded) {
				r.keep()
				return
			}
			r.renew(h)
		})
	})
}

// asHolder makes a call that lets the session live on if it succeeds.
func (r *run) asHolder(h *holder, call func(e *port) error, then func(error)) {
	sent := r.Now
	var err error
	e := r.spawnPort(time.Second)
	e.p.onDeath = func() { then(errNoQuorum) }
	e.n = r.nodes[r.Rand.IntN(members)]
	e.p.Spawn(func() { err = call(e) }, func() {
		e.p.onDeath = func() {}
		if err == nil {
			h.sent = append(h.sent, sent)
			r.livedLongEnough(h)
		}
		then(err)
	})
}

// livedLongEnough: a session does not end by itself before its TTL has passed on
// its holder's clock since that sent what was acknowledged.
func (r *run) livedLongEnough(h *holder) {
	last := h.sent[len(h.sent)-1]
	if h.expired && time.Duration(float64(h.ended-last)*h.speed) < h.TTL {
		r.violated("session %s with a TTL of %v ended at %v; it was renewed at %v", h.id, h.TTL, h.ended, last)
	}
}

// holding watches what happens to sessions, and to keys that expire, and notes it
// for the judge.
func (r *run) holding() {
	last := map[string]time.Duration{} // changes that hosts see
	event := func(call time.Duration, st step) {
		r.history = append(r.history, porcupine.Operation{ClientId: -1, Input: operation{steps: []step{st}}, Call: int64(call), Return: int64(r.Now)})
	}
	r.changedBy = func(e *port, key string, c *register.Change, cur, next *register.Value) {
		id, isSession := register.ParseSessionKey(key)
		byOwner := e != nil && e.expires
		switch {
		case key[0] == 0 && !isSession:
		case !isSession:
			if c.Kind == register.Delete && byOwner && cur.Live {
				r.stats.Faded++
				old := cur
				if applied, resolved := cur.Applied(), cur.Intent != nil && c.Over.Committed && c.Over.Txn == cur.Intent.Txn; resolved {
					old = &applied
				}
				if r.Now-last[key] < old.Expires || old.Expires == 0 {
					r.violated("key %q expired at %v; it was to live for %v from %v", key, r.Now, old.Expires, last[key])
				}
				event(e.began, step{verb: expire, key: key, want: number(old)})
			}
			if c.Kind == register.Release {
				r.stats.Released++
			}
			if cur.Index() != next.Index() {
				last[key] = r.Now
			}
		default:
			r.sessionChanged(r.holderOf(id), byOwner, cur, next, event)
		}
	}
	r.atRest = r.rested
}

func (r *run) holderOf(id string) *holder {
	for _, h := range r.sessions {
		if h.id == id {
			return h
		}
	}
	panic(id)
}

func (r *run) sessionChanged(h *holder, byOwner bool, cur, next *register.Value, event func(call time.Duration, st step)) {
	before, err1 := register.SessionOf(cur)
	after, err2 := register.SessionOf(next)
	if err := errors.Join(err1, err2); err != nil {
		r.violated("session %s: %w", h.id, err)
		return
	}
	switch {
	case after.State == register.SessionLive:
		h.renewed = r.Now
		if before.State == register.SessionGone {
			r.begun = append(r.begun, h.id)
			event(r.Now, step{verb: sessionBegins, key: h.id, made: cell{state: register.SessionLive, deletes: h.Delete, delays: h.Delay > 0}})
		}
		if before.State == register.SessionEnded {
			r.violated("session %s lives again", h.id)
		}
	case after.State == register.SessionEnded:
		h.ended, h.over, h.expired = r.Now, true, byOwner
		event(r.Now, step{verb: sessionEnds, key: h.id})
		if byOwner {
			r.stats.Expired++
			if len(h.sent) > 0 {
				r.livedLongEnough(h)
			}
			// At most five looks at stale cells, and two calls, if nothing goes wrong.
			if longest := h.TTL + h.TTL/32 + 300*time.Millisecond; !r.faulty && r.Now-h.renewed > longest && h.renewed > r.calmSince() {
				r.violated("session %s with a TTL of %v ended at %v; it was renewed at %v", h.id, h.TTL, r.Now, h.renewed)
			}
		}
	default:
		event(r.Now, step{verb: sessionForgotten, key: h.id})
		if before.State == register.SessionLive {
			r.violated("session %s was forgotten while it lived", h.id)
		}
		if r.Now-h.ended < h.Delay {
			r.violated("session %s ended at %v and was forgotten at %v; its lock delay is %v", h.id, h.ended, r.Now, h.Delay)
		}
	}
}

// calmSince is when faults have ended, with what they left.
func (r *run) calmSince() time.Duration {
	if r.calm {
		return -1
	}
	return r.until + 4*latest
}

// rested returns what should have ended by itself, before anybody reads a key.
func (r *run) rested() error {
	for key, v := range r.held {
		id, isSession := register.ParseSessionKey(key)
		if isSession && v.Live && v.Expires > 0 {
			s, err := register.SessionOf(&v)
			return fmt.Errorf("session %s is still there: %+v, %v", id, s, err)
		}
		// An intent may be an orphan, which is left for who reads the key.
		if now, _ := v.Names(); key[0] != 0 && now != "" && !r.delays(now) {
			return fmt.Errorf("key %q still names a session that was forgotten: %+v", key, v)
		}
		if key[0] != 0 && v.Live && v.Expires > 0 {
			return fmt.Errorf("key %q is still there: %+v", key, v)
		}
	}
	return nil
}
