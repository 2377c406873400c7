package chord

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
	"github.com/chord-plugin/chord-plugin/mesh"
)

const (
	// verifyLimit is the most keys in a page of Verify.
	verifyLimit = 10000
	// verifyLeast is how many keys a member is asked for at least, as long as that
	// is not more than the page is to have.
	verifyLeast = 100
	// verifyLooks is how often keys are looked at that differ: a write may be under
	// way. verifyPause is the time in between.
	verifyLooks = 4
	verifyPause = 250 * time.Millisecond
	// verifyMends is how often it is tried to mend them.
	verifyMends = 3
	// verifyEpochs is how often a member may answer from another epoch until it
	// counts as silent.
	verifyEpochs = 20
)

// survey is what the owners hold of a part of the keys.
type survey struct {
	epoch    uint64
	names    map[ring.Node]string // of the members
	silent   map[ring.Node]bool
	keys     int
	findings []*finding // of keys of which owners lack something, in order
	next     string
	more     bool
}

// finding is a key of which owners lack something, or are silent.
type finding struct {
	key    string
	newest held
	holder ring.Node // that has it
	lags   []lag
	copies int
	owners int
}

// lag is an owner that lacks the newest copy.
type lag struct {
	owner  ring.Node
	has    held
	silent bool
}

// lags reports whether an owner that answered lacks something.
func (f *finding) lagging() bool {
	return slices.ContainsFunc(f.lags, func(l lag) bool { return !l.silent })
}

func lagging(findings []*finding) bool { return slices.ContainsFunc(findings, (*finding).lagging) }

// Verify implements backend.Admin.
func (n *Node) Verify(ctx context.Context, q backend.VerifyQuery) (*backend.VerifyPage, error) {
	if q.Limit < 0 {
		return nil, backend.Errorf(backend.Invalid, "", "limit: it is %d; allowed are 1 to %d, and 0 for %d", q.Limit, verifyLimit, verifyLimit)
	}
	limit := q.Limit
	if limit == 0 || limit > verifyLimit {
		limit = verifyLimit
	}
	if _, err := n.serving(ctx, ""); err != nil {
		return nil, err
	}
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	s, err := n.survey(ctx, q.After, "", limit)
	if err != nil {
		return nil, err
	}
	v := verification{node: n, after: q.After, limit: limit}
	if s.more {
		v.upTo = s.next
	}
	page := &backend.VerifyPage{Keys: s.keys, More: s.more}
	if s.more {
		page.Next = s.next
	}
	for look := 1; look < verifyLooks && lagging(s.findings); look++ {
		if s, err = v.again(ctx, s, true); err != nil {
			return nil, err
		}
	}
	var failed map[string]string
	if q.Repair && lagging(s.findings) {
		before := lacking(s.findings)
		if s, failed, err = v.mend(ctx, s); err != nil {
			return nil, err
		}
		page.Repaired = before - lacking(s.findings)
	}
	for node := range s.silent {
		page.Silent = append(page.Silent, s.names[node])
	}
	slices.Sort(page.Silent)
	for _, f := range s.findings {
		page.Problems = append(page.Problems, f.problem(s, q.Repair, failed[f.key]))
	}
	return page, nil
}

// lacking counts the keys of which an owner that answered lacks something.
func lacking(findings []*finding) (n int) {
	for _, f := range findings {
		if f.lagging() {
			n++
		}
	}
	return n
}

// problem is the finding as it is reported.
func (f *finding) problem(s *survey, mended bool, failed string) backend.KeyProblem {
	p := backend.KeyProblem{Key: f.key, Copies: f.copies, Owners: f.owners}
	for _, l := range f.lags {
		if l.has.accepted.IsZero() {
			p.Missing = append(p.Missing, s.names[l.owner])
		} else {
			p.Behind = append(p.Behind, s.names[l.owner])
		}
		if mended && l.silent {
			p.Error = fmt.Sprintf("%q does not answer", s.names[l.owner])
		}
	}
	slices.Sort(p.Missing)
	slices.Sort(p.Behind)
	if mended && f.lagging() {
		if p.Error = failed; failed == "" {
			p.Error = "it was given to the owners, and they do not hold it"
		}
	}
	return p
}

// verification looks at one page again and again.
type verification struct {
	node        *Node
	after, upTo string // no upTo: to the last key
	limit       int
}

// again looks once more, after a while, at the keys that were found. same keeps
// only owners that still hold what they held: with others a write is under way.
func (v *verification) again(ctx context.Context, before *survey, same bool) (*survey, error) {
	if pause(ctx, verifyPause) != nil {
		return nil, v.node.usable(ctx, "")
	}
	had := make(map[string]*finding, len(before.findings))
	for _, f := range before.findings {
		had[f.key] = f
	}
	var sum *survey
	for after, more := v.after, true; more; {
		s, err := v.node.survey(ctx, after, v.upTo, v.limit)
		if err != nil {
			return nil, err
		}
		s.findings = slices.DeleteFunc(s.findings, func(f *finding) bool {
			if was := had[f.key]; same {
				f.keep(was)
			} else if was == nil {
				f.lags = nil
			}
			return len(f.lags) == 0
		})
		after, more = s.next, s.more
		if sum != nil {
			s.findings = append(sum.findings, s.findings...)
			maps.Copy(s.silent, sum.silent)
			maps.Copy(s.names, sum.names)
		}
		sum = s
	}
	return sum, nil
}

// keep keeps the owners that lacked something in an earlier look, hold the same
// since, and those that are silent.
func (f *finding) keep(was *finding) {
	f.lags = slices.DeleteFunc(f.lags, func(l lag) bool {
		return !l.silent && (was == nil || !slices.Contains(was.lags, l))
	})
}

// mend gives owners what they lack. It returns what is left, and why.
func (v *verification) mend(ctx context.Context, s *survey) (*survey, map[string]string, error) {
	type way struct{ from, to ring.Node }
	failed := map[string]string{}
	for try := 0; try < verifyMends && lagging(s.findings); try++ {
		clear(failed)
		plan := map[way][]string{}
		for _, f := range s.findings {
			for _, l := range f.lags {
				if !l.silent {
					w := way{f.holder, l.owner}
					plan[w] = append(plan[w], f.key)
				}
			}
		}
		for w, keys := range plan {
			_, refused, err := v.node.bring(ctx, s.epoch, w.from, w.to, keys, v.node.repairs.limit)
			if err != nil {
				for _, key := range keys {
					failed[key] = fmt.Sprintf("from %q to %q: %v", s.names[w.from], s.names[w.to], err)
				}
			}
			for key, outcome := range refused {
				failed[key] = fmt.Sprintf("from %q to %q: %v", s.names[w.from], s.names[w.to], outcome)
			}
		}
		var err error
		if s, err = v.again(ctx, s, false); err != nil {
			return nil, nil, err
		}
	}
	return s, failed, nil
}

// survey asks all members what they hold after a key: at most limit keys, and up
// to upTo, if that is not empty.
func (n *Node) survey(ctx context.Context, after, upTo string, limit int) (*survey, error) {
	for try := 1; ; try++ {
		if err := n.usable(ctx, ""); err != nil {
			return nil, err
		}
		st := n.ring.Load()
		pages, late := n.askPages(ctx, st, pageRequest{
			Epoch: st.placement.Configuration().Epoch, For: n.id.Bytes(), Which: whichAll, After: after, UpTo: upTo, Limit: limit,
		})
		if late && try < verifyEpochs {
			_ = pause(ctx, reshapeLook) // what ctx ends is said above
			continue
		}
		if err := n.usable(ctx, ""); err != nil {
			return nil, err
		}
		if len(pages) == 0 {
			return nil, backend.Errorf(backend.NoQuorum, "", "no member of the ring answers")
		}
		return newSurvey(st, pages, after, limit), nil
	}
}

// askPages asks all members for a page, side by side, and returns the answers.
// late says that one is in another epoch.
func (n *Node) askPages(ctx context.Context, st *ringState, req pageRequest) (pages map[ring.Node]*pageReply, late bool) {
	members := st.placement.Configuration().All()
	// A key has few owners: all answers together are a few times the page.
	req.Limit = min(req.Limit, max(req.Limit*ring.MaxReplicas/len(members), verifyLeast))
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	pages = map[ring.Node]*pageReply{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, m := range members {
		wg.Go(func() {
			page := &pageReply{}
			err := n.mesh.Call(ctx, m.ID.Node(), callPage, &req, page)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				pages[m.ID.Node()] = page
			}
			late = late || errors.Is(err, &mesh.RemoteError{Code: codeStaleEpoch})
		})
	}
	wg.Wait()
	return pages, late
}

// newSurvey puts the answers together, as far as all of them reach.
func newSurvey(st *ringState, pages map[ring.Node]*pageReply, after string, limit int) *survey {
	conf := st.placement.Configuration()
	s := &survey{epoch: conf.Epoch, names: map[ring.Node]string{}, silent: map[ring.Node]bool{}, next: after}
	for _, m := range conf.All() {
		s.names[m.ID.Node()] = m.Name
		page := pages[m.ID.Node()]
		if page == nil {
			s.silent[m.ID.Node()] = true
		} else if page.More && (!s.more || page.Next < s.next) {
			s.next, s.more = page.Next, true
		}
	}
	copies := map[string]map[ring.Node]held{}
	for node, page := range pages {
		for i := range page.Copies {
			c := &page.Copies[i]
			if s.more && c.Key > s.next {
				break
			}
			if copies[c.Key] == nil {
				copies[c.Key] = map[ring.Node]held{}
			}
			copies[c.Key][node] = c.held()
		}
	}
	keys := slices.Sorted(maps.Keys(copies))
	if len(keys) > limit {
		keys = keys[:limit]
		s.next, s.more = keys[limit-1], true
	}
	for _, key := range keys {
		f, known := s.find(key, st.placement.Group(key), copies[key])
		if known {
			s.keys++
		}
		if len(f.lags) > 0 {
			s.findings = append(s.findings, f)
		}
	}
	return s
}

// find compares the copies of a key. It is not known if no owner has any.
func (s *survey) find(key string, g ring.Group, copies map[ring.Node]held) (f *finding, known bool) {
	f = &finding{key: key, owners: g.Len()}
	for _, o := range g.Owners() {
		if h := copies[o]; f.newest.accepted.Less(h.accepted) {
			f.newest, f.holder = h, o
		}
	}
	if f.newest.accepted == (register.Ballot{}) {
		return f, false
	}
	for _, o := range g.Owners() {
		h := copies[o]
		if h.lacks(f.newest) {
			f.lags = append(f.lags, lag{owner: o, has: h, silent: s.silent[o]})
		}
		if h.accepted == f.newest.accepted {
			f.copies++
		}
	}
	return f, true
}
