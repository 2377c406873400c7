package sim

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// Script runs shards by explicit commands: nothing is delivered, no time passes
// and nobody crashes unless a command says so. Disks sync at once unless they
// are stalled. It is for schedules that a person thought out; what its clients
// saw is judged like that of a random run.
//
// The commands, with NODE one of the letters that "ring" hands out (owners of the
// key k first, in their order; clients are x, y, z):
//
//	ring members=N replicas=R [clients=N] [old=N] [outside=N] [SETTING=VALUE ...]
//	next [join=NODE,...] [remove=NODE,...] [replicas=N] [back]
//	                    makes the next configuration, which nobody works by yet
//	enter NODE,...      these work by their next configuration
//	adopt NODE TOKEN KEY FROM [epoch=N], raise NODE TOKEN FROM, purge NODE TOKEN KEY,..., epochs
//	forgettable KEY OF  who holds what OF has, a tombstone, or has forgotten it
//	forget NODE TOKEN KEY OF [epoch=N], rewrite NODE TOKEN KEY [timeout=D]
//	submit NODE TOKEN put|delete|pop|identity KEY [VALUE] [if=TOKEN|none] [fence=TOKEN] [timeout=D]
//	read NODE TOKEN KEY [stale] [timeout=D]
//	install NODE,... TOKEN.NUMBER   these install an attempt of the fence of the lock l
//	seal NODE,... TOKEN.NUMBER NODE,...   these learn that it was sealed, by those
//	settle-fence NODE TOKEN KEY TOKEN.NUMBER NODE,...   if one of the last lists the key
//	cancel NODE TOKEN
//	deliver|drop|unsent|hold [N] [from=NODE] [to=NODE] [kind=KIND] [key=KEY]
//	release             held messages are in flight again
//	settle              deliver until nothing is in flight
//	inflight            list what is in flight, held messages too
//	tick D              time passes for all nodes that are not frozen
//	freeze|thaw NODE    a frozen node gets neither time nor messages
//	crash|restart NODE  what was not synced is lost
//	stall|sync|resume NODE, fail NODE   the disk
//	clock NODE D        sets the wall clock ahead, or back
//	reachable NODE OF yes|no
//	cells KEY, promises, mark NODE, busy, judge
//	trace yes|no        whether deliveries and syncs are printed
type Script struct {
	// Trace says whether Do prints deliveries and syncs; the command trace sets it.
	Trace bool

	placement *ring.Placement // of the newest configuration
	chain     []*ring.Placement
	nodes     []*actor
	byID      map[ring.Node]*actor
	now       time.Duration
	base      uint64 // the timestamp at which the script begins
	flying    []flight
	held      []flight
	settings  register.Config
	calls     map[uint64]call
	index     map[uint64]uint64 // by token, of what was read or written
	history   []porcupine.Operation
	inForce   []inForce
	fenced    map[int]bool
	step      int64 // orders the history
	out       strings.Builder
}

type flight struct {
	from ring.Node
	env  register.Envelope
}

// call is what a token asked for.
type call struct {
	node   *actor
	in     input
	writes bool
	at     int64
}

// Do carries out one command and returns what there is to see.
func (s *Script) Do(cmd string, args []string) string {
	s.out.Reset()
	s.step++
	pos, opt := split(args)
	switch cmd {
	case "ring":
		s.ring(opt)
	case "submit":
		s.submit(pos, opt)
	case "read":
		s.read(pos, opt)
	case "cancel":
		s.input(s.node(pos[0]), func(a *actor, now register.Now) { a.shard.Cancel(now, number(pos[1])) })
	case "deliver", "drop", "unsent", "hold":
		s.move(cmd, pos, opt)
	case "trace":
		s.Trace = pos[0] == "yes"
	case "release":
		s.flying, s.held = append(s.flying, s.held...), nil
	case "settle":
		for n := 0; s.deliverable(); n++ {
			if n > 1000 {
				panic("script: does not settle")
			}
			s.move("deliver", nil, nil)
		}
	case "inflight":
		for _, f := range s.flying {
			s.printf("%s", s.flightString(f))
		}
		for _, f := range s.held {
			s.printf("held: %s", s.flightString(f))
		}
	case "tick":
		s.tick(duration(pos[0]))
	case "cells":
		s.printCells(pos[0])
	case "promises":
		for _, a := range s.nodes {
			if a.shard != nil && a.member {
				n, floor := a.shard.Promises()
				s.printf("%s: %d explicit, floor %s", a.name, n, s.ballot(floor))
			}
		}
	case "busy":
		for _, a := range s.nodes {
			if a.shard != nil && a.shard.Busy() > 0 {
				s.printf("%s: %d", a.name, a.shard.Busy())
			}
		}
	case "judge":
		if err := s.Judge(); err != nil {
			s.printf("not linearizable: %v", err)
		} else {
			s.printf("linearizable")
		}
	case "install", "seal", "settle-fence":
		s.fence(cmd, pos)
	case "next", "enter", "epochs", "adopt", "take", "raise", "purge", "forgettable", "forget", "rewrite":
		s.reshape(cmd, pos, opt)
	default:
		s.onNode(cmd, s.node(pos[0]), pos[1:])
	}
	if s.out.Len() == 0 {
		return "ok\n"
	}
	return s.out.String()
}

// onNode carries out a command about one node.
func (s *Script) onNode(cmd string, a *actor, pos []string) {
	switch cmd {
	case "freeze":
		a.frozen = true
	case "thaw":
		a.frozen = false
		s.input(a, func(a *actor, now register.Now) { a.shard.Tick(now) })
	case "crash":
		a.shard, a.queue = nil, nil
		for _, token := range slices.Sorted(maps.Keys(s.calls)) {
			if s.calls[token].node == a { // its caller never hears
				s.record(token, register.Result{Outcome: register.Unknown})
			}
		}
	case "restart":
		s.start(a)
	case "stall":
		a.stalled = true
	case "sync":
		s.sync(a)
	case "resume":
		a.stalled = false
		s.sync(a)
	case "fail":
		a.frail = true
	case "mark":
		s.printf("%s: %s", a.name, s.time(a.mark.HighWater))
	case "clock":
		a.skew += duration(pos[0])
	case "reachable":
		of := s.node(pos[0]).id
		s.input(a, func(a *actor, now register.Now) { a.shard.Reachable(now, of, pos[1] == "yes") })
	default:
		panic("script: no command " + cmd)
	}
}

// Judge returns what is wrong with what the callers saw so far, or nil. An
// operation without an answer may have happened.
func (s *Script) Judge() error {
	history := slices.Clone(s.history)
	for _, c := range s.calls {
		if c.writes {
			history = append(history, porcupine.Operation{Input: c.in, Output: output{unknown: true}, Call: c.at, Return: math.MaxInt64 / 2})
		}
	}
	history, err := heedFences(history, s.inForce, s.fenced)
	if err == nil {
		_, err = judge(history)
	}
	return err
}

func (s *Script) submit(pos []string, opt map[string]string) {
	a, token, key := s.node(pos[0]), number(pos[1]), pos[3]
	c := register.Change{}
	in := input{kind: opPut, key: key}
	switch pos[2] {
	case "put":
		c.Kind, in.data = register.Put, int(number(pos[4]))
		c.Data = encodeData(in.data)
	case "delete":
		c.Kind = register.Delete
	case "pop":
		c.Kind, in.kind = register.Pop, opPop
	case "identity":
		c.Kind, in.kind = register.Identity, opGet
	default:
		panic("script: no change " + pos[2])
	}
	if of, ok := opt["if"]; ok {
		c.If = true
		if of != "none" {
			c.Index = s.index[number(of)]
			in.expect = s.dataOf(number(of))
		}
		in.kind = opCas
	}
	if of, ok := opt["fence"]; ok {
		in.fence = register.Fence{Key: scriptLock, Token: number(of)}
		c.Fences = []register.Fence{in.fence}
	}
	s.calls[token] = call{a, in, c.Kind != register.Identity, s.step}
	s.input(a, func(a *actor, now register.Now) { a.shard.Submit(now, token, key, c, timeout(opt)) })
}

func (s *Script) read(pos []string, opt map[string]string) {
	a, token := s.node(pos[0]), number(pos[1])
	stale := slices.Contains(pos, "stale")
	in := input{kind: opGet, key: pos[2]}
	if stale {
		in.kind = opStale
	}
	s.calls[token] = call{a, in, false, s.step}
	s.input(a, func(a *actor, now register.Now) { a.shard.Read(now, token, pos[2], stale, timeout(opt)) })
}

// input gives a node an input and carries out what follows, syncs included.
func (s *Script) input(a *actor, do func(a *actor, now register.Now)) {
	if a.shard == nil {
		return
	}
	wall := s.base + uint64((s.now+a.skew).Milliseconds())<<12
	do(a, register.Now{Mono: s.now, Wall: wall})
	r := a.shard.Ready()
	for _, env := range r.Messages {
		s.flying = append(s.flying, flight{a.id, env})
	}
	for _, of := range r.Newer {
		s.printf("%s hears of a newer configuration from %s", a.name, s.name(of))
	}
	for _, res := range r.Results {
		s.printf("%s answers %d: %s", a.name, res.Token, s.resultString(&res))
		s.record(res.Token, res)
	}
	if err := a.shard.Err(); err != nil {
		s.printf("%s stopped: %v", a.name, err)
		a.shard = nil
	}
	a.queue = append(a.queue, r.Writes...)
	if !a.stalled {
		s.sync(a)
	}
}

// sync makes durable what waits.
func (s *Script) sync(a *actor) {
	if len(a.queue) == 0 {
		return
	}
	writes := a.queue
	a.queue = nil
	for _, w := range writes {
		if w.Mark != nil {
			a.mark = *w.Mark
			continue
		}
		if w.Drop {
			delete(a.cells, w.Key)
			s.printf("%s drops %s", a.name, w.Key)
			continue
		}
		a.cells[w.Key] = w.Cell
		if s.Trace {
			s.printf("%s syncs %s %s", a.name, w.Key, s.cell(&w.Cell))
		}
	}
	seq := writes[len(writes)-1].Seq
	s.input(a, func(a *actor, now register.Now) { a.shard.Synced(now, seq) })
}

// tick lets time pass in steps of at most 5 ms.
func (s *Script) tick(d time.Duration) {
	for end := s.now + d; s.now < end; {
		s.now = min(s.now+5*time.Millisecond, end)
		for _, a := range s.nodes {
			if !a.frozen {
				s.input(a, func(a *actor, now register.Now) { a.shard.Tick(now) })
			}
		}
	}
}

// deliverable reports whether anything is in flight to a node that is not frozen.
func (s *Script) deliverable() bool {
	return slices.ContainsFunc(s.flying, func(f flight) bool { return !s.byID[f.env.To].frozen })
}

// move takes matching messages out of flight; what they lead to stays.
func (s *Script) move(cmd string, pos []string, opt map[string]string) {
	limit := math.MaxInt
	if len(pos) > 0 {
		limit = int(number(pos[0]))
	}
	var took, left []flight
	for _, f := range s.flying {
		frozen := cmd == "deliver" && s.byID[f.env.To].frozen
		if len(took) < limit && !frozen && s.matches(f, opt) {
			took = append(took, f)
		} else {
			left = append(left, f)
		}
	}
	s.flying = left
	for _, f := range took {
		if cmd != "deliver" || s.Trace {
			s.printf("%s%s", map[string]string{"drop": "lost: ", "unsent": "unsent: ", "hold": "held: "}[cmd], s.flightString(f))
		}
		switch cmd {
		case "hold":
			s.held = append(s.held, f)
		case "unsent":
			s.input(s.byID[f.from], func(a *actor, now register.Now) { a.shard.Unsent(now, &f.env) })
		case "deliver":
			m, err := register.DecodeMessage(register.AppendMessage(nil, &f.env.Msg))
			if err != nil {
				panic(err)
			}
			s.input(s.byID[f.env.To], func(a *actor, now register.Now) { a.shard.Step(now, f.from, &m) })
		}
	}
}

func (s *Script) matches(f flight, opt map[string]string) bool {
	for name, v := range opt {
		var have string
		switch name {
		case "from":
			have = s.byID[f.from].name
		case "to":
			have = s.byID[f.env.To].name
		case "kind":
			have = f.env.Msg.Kind.String()
		case "key":
			have = f.env.Msg.Key
		default:
			panic("script: no filter " + name)
		}
		if !slices.Contains(strings.Split(v, ","), have) {
			return false
		}
	}
	return true
}

// record puts an ended call into the history.
func (s *Script) record(token uint64, res register.Result) {
	c, ok := s.calls[token]
	if !ok {
		return // of no caller: see adopt and purge
	}
	delete(s.calls, token)
	data := versionOf(&res.Value).data
	out := output{ok: res.Outcome == register.Done, index: res.Index}
	ret := s.step
	switch {
	case res.Outcome == register.Fenced:
		s.fenced[c.in.data] = true
		return
	case c.in.kind == opGet && out.ok:
		out = output{data: data, index: res.Index}
		c.in.data = data
	case res.Outcome == register.Unknown && c.writes:
		out, ret = output{unknown: true}, math.MaxInt64/2
	case res.Outcome != register.Done && res.Outcome != register.Refused, c.in.kind == opGet, c.in.kind == opStale:
		return
	case res.Outcome == register.Refused:
		out = output{}
	case c.in.kind == opPop:
		out.data = data
	}
	s.index[token] = res.Index
	if c.in.kind == opGet {
		c.in.data = 0
	}
	s.step++
	s.history = append(s.history, porcupine.Operation{ClientId: int(token), Input: c.in, Output: out, Call: c.at, Return: ret})
}

// dataOf returns the value that a token read or wrote.
func (s *Script) dataOf(token uint64) int {
	for _, o := range s.history {
		if o.ClientId == int(token) {
			return max(o.Input.(input).data, o.Output.(output).data)
		}
	}
	panic(fmt.Sprintf("script: token %d has no result", token))
}

func (s *Script) node(name string) *actor {
	for _, a := range s.nodes {
		if a.name == name {
			return a
		}
	}
	panic("script: no node " + name)
}

// split separates plain arguments from those with a name.
func split(args []string) (pos []string, opt map[string]string) {
	opt = map[string]string{}
	for _, a := range args {
		if name, v, ok := strings.Cut(a, "="); ok {
			opt[name] = v
		} else {
			pos = append(pos, a)
		}
	}
	return pos, opt
}

func timeout(opt map[string]string) time.Duration {
	if v, ok := opt["timeout"]; ok {
		return duration(v)
	}
	return 0
}

func duration(v string) time.Duration {
	d, err := time.ParseDuration(v)
	if err != nil {
		panic(err)
	}
	return d
}

func number(v string) uint64 {
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}
