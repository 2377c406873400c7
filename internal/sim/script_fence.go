package sim

import (
	"slices"
	"strings"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// scriptLock is the lock of all fences of a script.
const scriptLock = "l"

// fence is a script's commands about fences: the steps of chord/fence, one by one.
func (s *Script) fence(cmd string, pos []string) {
	try := func(v string) register.Attempt {
		token, n, _ := strings.Cut(v, ".")
		return register.Attempt{Token: number(token), Number: number(n)}
	}
	tell := func(names string, e register.FenceEntry) {
		for name := range strings.SplitSeq(names, ",") {
			s.input(s.node(name), func(a *actor, now register.Now) { a.shard.Fence(now, []register.FenceEntry{e}) })
		}
	}
	switch cmd {
	case "install":
		tell(pos[0], register.FenceEntry{Key: scriptLock, Try: try(pos[1])})
	case "seal":
		e := register.FenceEntry{Key: scriptLock, Try: try(pos[1]), Sealed: try(pos[1]), By: s.ids(pos[2])}
		tell(pos[0], e)
		s.inForce = append(s.inForce, inForce{register.Fence{Key: scriptLock, Token: e.Sealed.Token}, time.Duration(s.step)})
	case "settle-fence":
		key := pos[2]
		lists := func(node ring.Node) bool {
			c := s.byID[node].cells[key]
			return c.Value.Concerns(scriptLock)
		}
		if !slices.ContainsFunc(s.ids(pos[4]), lists) {
			s.printf("%s is not listed", key)
			return
		}
		e := register.FenceEntry{Key: scriptLock, Try: try(pos[3])}
		s.input(s.node(pos[0]), func(a *actor, now register.Now) { a.shard.Settle(now, number(pos[1]), key, e, 0) })
	}
}

func (s *Script) ids(names string) (ids []ring.Node) {
	for name := range strings.SplitSeq(names, ",") {
		ids = append(ids, s.node(name).id)
	}
	return ids
}
