package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// actor is a node of a script.
type actor struct {
	name           string
	id             ring.Node
	full           ring.ID         // of a member
	shard          *register.Shard // nil while it is down
	boot           uint64
	member         bool
	cells          map[string]register.Cell
	mark           register.Mark
	queue          []register.Write
	stalled, frail bool
	epoch          int // index into Script.chain
	frozen         bool
	skew           time.Duration
}

// Load reads what is durable.
func (a *actor) Load(key string) (register.Cell, error) {
	if a.frail {
		return register.Cell{}, fmt.Errorf("disk of %s failed", a.name)
	}
	return a.cells[key], nil
}

// ring makes the nodes. With old=N the first N members are Old and the last
// replicas members New, of a joint configuration.
func (s *Script) ring(opt map[string]string) {
	members, clients, outside := int(number(opt["members"])), 0, 0
	if v, ok := opt["clients"]; ok {
		clients = int(number(v))
	}
	if v, ok := opt["outside"]; ok {
		outside = int(number(v))
	}
	r := int(number(opt["replicas"]))
	cfg := &ring.Configuration{RingID: "00000000000000000000000000000001", Epoch: 1, Level: ring.Level, New: ring.Side{Replicas: r}}
	var all []ring.Member
	for i := range members {
		all = append(all, ring.Member{ID: ring.NodeID(fmt.Appendf(nil, "member %d", i)), Name: fmt.Sprint(i), Tokens: 8})
	}
	cfg.New.Members = slices.Clone(all)
	if v, ok := opt["old"]; ok {
		cfg.Epoch = 2
		cfg.Old = &ring.Side{Replicas: r, Members: slices.Clone(all[:number(v)])}
		cfg.New.Members = slices.Clone(all[members-r:])
	}
	cfg.Sort()
	if err := cfg.Validate(); err != nil {
		panic(err)
	}
	p := ring.NewPlacement(cfg)
	*s = Script{
		Trace: s.Trace, placement: p, chain: []*ring.Placement{p}, byID: map[ring.Node]*actor{},
		calls: map[uint64]call{}, fenced: map[int]bool{}, index: map[uint64]uint64{}, settings: settings(opt),
		base: register.Timestamp(time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)),
	}
	g := s.placement.Group("k")
	ids := slices.Clone(g.Owners())
	for _, m := range all {
		if g.Index(m.ID.Node()) < 0 {
			ids = append(ids, m.ID.Node())
		}
	}
	for i, id := range ids {
		full := all[slices.IndexFunc(all, func(m ring.Member) bool { return m.ID.Node() == id })].ID
		s.add(&actor{name: string(rune('a' + i)), id: id, full: full, member: true, cells: map[string]register.Cell{}})
	}
	for i := range outside {
		name := string(rune('a' + members + i))
		s.add(&actor{name: name, id: ring.NodeID([]byte("outside " + name)).Node(), full: ring.NodeID([]byte("outside " + name)), member: true, cells: map[string]register.Cell{}})
	}
	for i := range clients {
		name := string(rune('x' + i))
		s.add(&actor{name: name, id: ring.NodeID([]byte(name)).Node()})
	}
	s.printf("k is owned by %s", s.sides(&g))
}

func (s *Script) add(a *actor) {
	s.nodes = append(s.nodes, a)
	s.byID[a.id] = a
	s.start(a)
}

func (s *Script) start(a *actor) {
	a.boot++
	cfg := s.settings
	cfg.Self = a.id
	cfg.Rand = rand.New(rand.NewPCG(uint64(a.id), a.boot))
	if a.member {
		cfg.Cells, cfg.Mark = a, a.mark
	}
	a.shard = register.NewShard(cfg, s.chain[a.epoch])
}

func settings(opt map[string]string) register.Config {
	c := register.Config{
		MaxDrift: time.Minute, Attempt: 100 * time.Millisecond, Hedge: 20 * time.Millisecond,
		ForwardMin: 50 * time.Millisecond, ForwardMax: 50 * time.Millisecond, Window: 200 * time.Millisecond,
	}
	for name, v := range opt {
		switch name {
		case "window":
			c.Window = duration(v)
		case "markstep":
			c.MarkStep = duration(v)
		case "drift":
			c.MaxDrift = duration(v)
		case "attempt":
			c.Attempt = duration(v)
		case "promises":
			c.MaxPromises = int(number(v))
		case "waiting":
			c.MaxWaiting = int(number(v))
		}
	}
	return c
}
