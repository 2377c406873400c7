package sim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
	"github.com/chord-plugin/chord-plugin/internal/kernel"
)

// Options choose what one run does; the seed decides the rest.
type Options struct {
	// Seed decides everything that is random.
	Seed uint64
	// Duration is how long clients and faults run, in simulated time.
	Duration time.Duration
	// Hot runs more clients on one or two keys, with crashes every few
	// milliseconds and tables of promises that overflow.
	Hot bool
	// Reshape changes the ring all the while: members come, go and come back, and
	// the number of copies changes.
	Reshape bool
	// Repair lets members compare what they both own and adopt what is newer;
	// Forget lets them forget tombstones.
	Repair, Forget bool
	// Learn lets new owners compare what they were given before they take it, and
	// learn what a majority holds.
	Learn bool
	// Fences lets clients take locks, bring their fences into force, and write with
	// them, also when others hold the locks by then.
	Fences bool
	// Transfers lets clients move amounts between accounts by transactions, and count
	// them.
	Transfers bool
}

// Stats count what happened in a run.
type Stats struct {
	Operations, Failed, Unknown, Overloaded, Stale, Messages, Lost, Crashes, Cuts, DeadDisks int
	// Joint, Final and Aborted configurations that were entered, the cells taken
	// over and dropped, and the nodes that began anew with another identity.
	Joint, Final, Aborted, Adopted, Dropped, Renewed int
	// Repaired cells were adopted by an owner that missed them, outside of ring
	// changes; Forgotten tombstones are counted once an owner.
	// Learnt cells were taken over because a majority held them.
	Repaired, Forgotten, Learnt int
	// Undecided runs have a history that the checker gave up on in time.
	Undecided int
	// Fences that were brought into force, the keys that were settled for them,
	// the writes that ended as fenced, and the Accepts that were refused.
	Fences, Settled, Fenced, Refused int
	// Transfers that happened, and Audits that counted everything.
	Transfers, Audits int
	// Slowest is the longest that an operation took that began after all faults
	// had ended, in simulated time.
	Slowest time.Duration
}

// Add sums up.
func (s *Stats) Add(o Stats) {
	s.Operations += o.Operations
	s.Failed += o.Failed
	s.Unknown += o.Unknown
	s.Messages += o.Messages
	s.Lost += o.Lost
	s.Crashes += o.Crashes
	s.Cuts += o.Cuts
	s.Overloaded += o.Overloaded
	s.Stale += o.Stale
	s.DeadDisks += o.DeadDisks
	s.Joint += o.Joint
	s.Final += o.Final
	s.Aborted += o.Aborted
	s.Adopted += o.Adopted
	s.Dropped += o.Dropped
	s.Renewed += o.Renewed
	s.Repaired += o.Repaired
	s.Forgotten += o.Forgotten
	s.Learnt += o.Learnt
	s.Undecided += o.Undecided
	s.Fences += o.Fences
	s.Settled += o.Settled
	s.Fenced += o.Fenced
	s.Refused += o.Refused
	s.Transfers += o.Transfers
	s.Audits += o.Audits
	s.Slowest = max(s.Slowest, o.Slowest)
}

// Sim is one run.
type Sim struct {
	seed      uint64
	reshape   bool
	learning  bool
	repair    bool
	forget    bool
	kernel    *kernel.Kernel
	network   *network
	nodes     []*node
	placement *ring.Placement // of the first configuration; in the finale of the last
	register  register.Config
	keys      []string       // in use; see retire
	everyKey  []string       // ever used
	unknown   map[string]int // operations of unknown outcome, by key
	doomed    int            // disks that may yet fail
	think     time.Duration  // longest pause of a client
	stalls    float64        // how often a disk stalls
	calm      time.Duration  // longest pause between faults
	began     time.Time
	nextData  int
	history   []porcupine.Operation
	inForce   []inForce
	tellers   []*teller
	fenced    map[int]bool // data of writes that ended as fenced
	stats     Stats

	founded    *ring.Configuration
	placements map[uint64]*ring.Placement // of what was entered, by epoch
	proposed   []*ring.Configuration      // what may come, or came
	violation  error                      // the first that was seen on the way
}

// settle is how long after the last fault everything must have ended. The
// longest timeout of an operation is well below it.
const settle = 20 * time.Second

// Run runs one simulation to its end and judges it.
func Run(o Options) (Stats, error) {
	k := &kernel.Kernel{Rand: rand.New(rand.NewPCG(o.Seed, 0x6368))}
	s := &Sim{seed: o.Seed, reshape: o.Reshape, learning: o.Learn, repair: o.Repair, forget: o.Forget, kernel: k, placements: map[uint64]*ring.Placement{}, unknown: map[string]int{}, fenced: map[int]bool{}, think: 60 * time.Millisecond, stalls: 0.02, calm: 400 * time.Millisecond, began: time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)}
	s.network = &network{k: k, nodes: map[ring.Node]*node{}, cut: map[[2]ring.Node]bool{}, stats: &s.stats, late: 0.02}
	s.network.loss = []float64{0, 0.01, 0.05, 0.15}[k.Rand.IntN(4)]
	s.register = register.Config{
		MaxPromises: 2 + k.Rand.IntN(6),
		MarkStep:    k.Between(50*time.Millisecond, time.Second),
		Attempt:     k.Between(60*time.Millisecond, 300*time.Millisecond),
		ForwardMin:  k.Between(30*time.Millisecond, 100*time.Millisecond),
		Window:      k.Between(20*time.Millisecond, 500*time.Millisecond),
		Avoid:       k.Between(50*time.Millisecond, time.Second),
		Hedge:       k.Between(10*time.Millisecond, 40*time.Millisecond),
	}
	if k.Chance(0.2) {
		s.register.MaxWaiting = 1 + k.Rand.IntN(3)
	}
	if o.Transfers {
		s.register.MaxWaiting = 0 // a transaction does several things at a time
	}
	if !o.Hot && k.Chance(0.1) { // each restart moves a clock by MarkStep, which adds up
		s.register.MaxDrift = k.Between(4*time.Second, 12*time.Second)
		s.register.MarkStep = k.Between(50*time.Millisecond, 150*time.Millisecond)
	}
	s.keys = []string{"a", "b", "c", "d", "e", "f"}[:1+k.Rand.IntN(6)]
	clients := 4
	if o.Hot {
		clients = 8
		s.keys = s.keys[:min(2, len(s.keys))]
		s.calm = 30 * time.Millisecond
		s.think = 10 * time.Millisecond
		s.register.MaxPromises = 1
	}
	s.everyKey = slices.Clone(s.keys)
	s.populate()
	f := &faults{sim: s, crash: k.Chance(0.7), cut: k.Chance(0.6), clocks: k.Chance(0.5), disks: k.Chance(0.3), until: o.Duration}
	f.run()
	if s.reshape {
		s.stalls = []float64{0.02, 0.02, 0.2}[k.Rand.IntN(3)]
		d := &driving{sim: s, until: o.Duration, end: o.Duration + settle - 5*time.Second}
		d.run()
		d.gossip()
	}
	s.tend(o.Duration + settle - 5*time.Second)
	for id := range clients {
		c := &client{sim: s, id: id, until: o.Duration, seen: map[string]version{}}
		c.run()
	}
	if o.Fences {
		for id := range 3 + k.Rand.IntN(3) {
			h := &holder{client: client{sim: s, id: 20 + id, until: o.Duration, seen: map[string]version{}}, lock: lockKeys[k.Rand.IntN(len(lockKeys))]}
			h.run()
		}
	}
	if o.Transfers {
		for id := range 3 + k.Rand.IntN(3) {
			s.tellers = append(s.tellers, &teller{sim: s, id: id, until: o.Duration})
		}
		for _, t := range s.tellers {
			t.run()
		}
	}
	s.run(o.Duration + settle)
	err := s.finale()
	s.end()
	history, outlived := heedFences(s.history, s.inForce, s.fenced)
	err = errors.Join(err, outlived)
	decided, wrong := judge(history)
	if !decided {
		s.stats.Undecided++
	}
	return s.stats, errors.Join(wrong, err)
}

// populate makes a ring, up to two clients beside it, and with Reshape up to
// three nodes that are not in it yet.
func (s *Sim) populate() {
	k := s.kernel
	members := 1 + k.Rand.IntN(7)
	cfg := &ring.Configuration{RingID: "00000000000000000000000000000001", Epoch: 1, Level: ring.Level}
	cfg.New.Replicas = []int{1, 3, 3, 5, 5, 5}[k.Rand.IntN(6)]
	nodes := members + k.Rand.IntN(3)
	joiners := 0
	if s.reshape {
		joiners = k.Rand.IntN(4)
	}
	for i := range nodes + joiners {
		id := ring.NodeID(fmt.Appendf(nil, "node %d of %d", i, s.seed))
		n := &node{sim: s, name: fmt.Sprint(i), id: id.Node(), rate: 1 + (k.Rand.Float64()-0.5)/100, skew: k.Between(-5*time.Second, 5*time.Second)}
		if i < members || i >= nodes {
			n.full = id
			n.disk = &disk{node: n, cells: map[string]register.Cell{}, fences: register.Fences{}}
			s.network.nodes[n.id] = n
		}
		if i < members {
			cfg.New.Members = append(cfg.New.Members, n.member())
		}
		s.nodes = append(s.nodes, n)
	}
	cfg.Sort()
	s.doomed = cfg.New.Faults()
	if all := cfg.New.Members; !s.reshape && len(all) > 1 && k.Chance(0.25) { // in the middle of a change of the ring
		cfg.Epoch = 2
		cfg.Old = &ring.Side{Replicas: 1 + k.Rand.IntN(5), Members: slices.Clone(all[:1+k.Rand.IntN(len(all))])}
		cfg.New.Members = slices.Clone(all[k.Rand.IntN(len(all)):])
		s.doomed = min(cfg.Old.Faults(), cfg.New.Faults())
	}
	if err := cfg.Validate(); err != nil {
		panic(err)
	}
	s.founded, s.proposed = cfg, []*ring.Configuration{cfg}
	s.placement = s.placed(cfg)
	for _, n := range s.nodes {
		n.placement = s.placement
		if n.disk != nil {
			n.disk.chain = []*ring.Configuration{cfg}
		}
		n.start()
	}
}
