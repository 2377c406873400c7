package txn

import "github.com/chord-plugin/chord-plugin/chord/register"

// session returns a session as it is, the zero one if there is none.
func (c *Coordinator) session(r Registers, id string) (register.Session, error) {
	v, err := r.Read(register.SessionKey(id))
	if err != nil {
		return register.Session{}, unavailable("", err)
	}
	return register.SessionOf(&v)
}

// Alive reports whether a session lives. One that does not never will again.
func (c *Coordinator) Alive(r Registers, session string) (bool, error) {
	s, err := c.session(r, session)
	return s.State == register.SessionLive, err
}

// Ended returns those of the sessions that do not live, which may be named more
// than once. The others lived at every earlier moment at which a key named them.
func (c *Coordinator) Ended(r Registers, sessions []string) (map[string]bool, error) {
	alive := map[string]bool{}
	var ask []string
	for _, id := range sessions {
		if _, ok := alive[id]; !ok && id != "" {
			alive[id] = true
			ask = append(ask, id)
		}
	}
	lives := make([]bool, len(ask))
	err := r.Each(len(ask), func(i int) error {
		var err error
		lives[i], err = c.Alive(r, ask[i])
		return err
	})
	ended := map[string]bool{}
	for i, id := range ask {
		if !lives[i] {
			ended[id] = true
		}
	}
	return ended, err
}

// Release takes a key from a session that has ended, if that still holds it: the
// key is left without a holder, or deleted, as the session wanted it. A transaction
// that is pending there is aborted after a moment.
func (c *Coordinator) Release(r Registers, key, session string) error {
	_, err := c.Change(r, key, register.Change{Kind: register.Release, Holding: register.Holding{Session: session}})
	if err != nil {
		return unavailable(key, err)
	}
	return nil
}

// assert returns the holder of a key that is to be changed if it lives. Else it
// releases the key and returns "".
func (c *Coordinator) assert(r Registers, key, holder string) (string, error) {
	if !holds(ruleAlive) {
		return holder, nil
	}
	alive, err := c.Alive(r, holder)
	if err != nil || alive {
		return holder, err
	}
	return "", c.Release(r, key, holder)
}
