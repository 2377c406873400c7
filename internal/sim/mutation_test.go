//go:build mutation

package sim

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/fence"
	"github.com/chord-plugin/chord-plugin/chord/register"
)

// takenOut says how a rule of the protocol is missed when it is taken out: by
// random runs, or by a script where they would have to be too lucky.
type takenOut struct {
	rule    string
	hot     bool
	reshape bool
	tend    bool // repair and forget
	learn   bool // compare what is given
	fences  bool
	money   bool   // transfers by transactions
	limit   uint64 // seeds
	want    string // in what is found
	script  string
}

// lin is said of a history: to see that what callers saw tells, too.
const lin = "not linearizable"

var mutations = []takenOut{
	{rule: "noevictfloor", hot: true, limit: 1000},
	{rule: "noevictfloor", script: "testdata/noevictfloor.txt"},
	{rule: "amnesia", script: "testdata/amnesia.txt"},
	{rule: "reissue", script: "testdata/reissue.txt"},
	{rule: "reapply", limit: 50},
	{rule: "noreadback", limit: 100},
	{rule: "deadshortcut", script: "testdata/deadshortcut.txt"},
	{rule: "accnotpromise", script: "testdata/accnotpromise.txt"},
	{rule: "nowindow", limit: 100},
	{rule: "nojoint", reshape: true, limit: 50},
	{rule: "nosync", reshape: true, limit: 50},
	{rule: "nofence", reshape: true, limit: 200},
	{rule: "noflush", reshape: true, limit: 6000},
	{rule: "nopurge", reshape: true, limit: 50},
	{rule: "nopurge", reshape: true, tend: true, limit: 300, want: lin},
	{rule: "noepoch", reshape: true, limit: 500},
	{rule: "nogcfloor", tend: true, limit: 100, want: lin},
	{rule: "gcmajority", tend: true, limit: 50, want: lin},
	{rule: "gcmajority", reshape: true, tend: true, limit: 200, want: lin},
	{rule: "forgetfate", tend: true, limit: 300, want: lin},
	{rule: "nogone", tend: true, limit: 300, want: lin},
	{rule: "forgetstamp", script: "testdata/forgetstamp.txt"},
	{rule: "aebelowpromise", tend: true, limit: 500},
	{rule: "mergebelowfloor", hot: true, tend: true, limit: 300},
	{rule: "mergebelowfloor", script: "testdata/mergebelowfloor.txt"},
	{rule: "nobound", script: "testdata/nobound.txt"},
	{rule: "forgetjoint", reshape: true, tend: true, learn: true, limit: 3000},
	{rule: "endbyold", reshape: true, limit: 500},
	{rule: "firstonly", script: "testdata/fencesurface.txt"},
	{rule: "firstonly", fences: true, limit: 4000},
	{rule: "deadagain", fences: true, limit: 4000},
	{rule: "noundo", script: "testdata/fenceundo.txt"},
	{rule: "untagged", script: "testdata/fencesurface.txt"},
	{rule: "buildondoubt", script: "testdata/fencebuild.txt"},
	{rule: "mixedbatch", fences: true, limit: 4000},
	{rule: "nowastagged", script: "testdata/fenceoverwritten.txt"},
	{rule: "adoptdead", script: "testdata/fenceadopt.txt"},
	{rule: "settleuntagged", script: "testdata/fencehalfsettled.txt"},
	{rule: "lateinstall", fences: true, limit: 4000},
	{rule: "fencemajority", fences: true, limit: 4000},
	{rule: "nosettle", fences: true, limit: 4000},
	{rule: "volatilefence", fences: true, limit: 4000},
	{rule: "unfencedjoiner", fences: true, reshape: true, limit: 4000},
	{rule: "createlate", money: true, limit: 300},
	{rule: "novalidate", money: true, limit: 300},
	{rule: "forgetfirst", money: true, limit: 300},
	{rule: "statusafter", money: true, limit: 3000},
	{rule: "applyearly", money: true, limit: 300},
	{rule: "learnunheld", script: "testdata/learnunheld.txt"},
}

// TestMutations takes out one rule after the other and expects a history that is
// not linearizable (or an invariant of the code that fails), and that the same
// run is clean with the rule in place.
func TestMutations(t *testing.T) {
	defer breakRule("")
	for _, rule := range slices.Concat(register.Rules.Names(), fence.Rules.Names(), rules.Names()) {
		if !slices.ContainsFunc(mutations, func(m takenOut) bool { return m.rule == rule }) {
			t.Errorf("nothing shows that the rule %s is missed", rule)
		}
	}
	for _, m := range mutations {
		how := m.script
		run := func() (err error) {
			if m.script != "" {
				return caught(func() error { return runScript(t, m.script) })
			}
			var n uint64
			n, err = firstFailing(m)
			how = fmt.Sprintf("seed %d", n)
			return err
		}
		breakRule(m.rule)
		err := run()
		breakRule("")
		if err == nil {
			t.Errorf("%s: nothing broke up to %s", m.rule, how)
			continue
		}
		t.Logf("%-14s %-28s %s", m.rule, how, firstLine(err))
		if m.script == "" {
			m.limit, _ = strconv.ParseUint(strings.TrimPrefix(how, "seed "), 10, 64)
		}
		if err := run(); err != nil {
			t.Errorf("%s: with the rule in place %s fails: %v", m.rule, how, err)
		}
	}
}

// firstFailing runs seeds up to a mutation's limit, two at a time, and returns the
// lowest that fails as it should, or the limit.
func firstFailing(m takenOut) (uint64, error) {
	var mu sync.Mutex
	var next, lowest uint64 = 1, m.limit
	var found error
	var workers sync.WaitGroup
	for range 2 {
		workers.Go(func() {
			for {
				mu.Lock()
				n := next
				next++
				done := n > lowest
				mu.Unlock()
				if done {
					return
				}
				err := caught(func() error {
					_, err := Run(Options{Seed: n, Duration: 4 * time.Second, Hot: m.hot, Reshape: m.reshape, Repair: m.tend, Forget: m.tend, Learn: m.learn, Fences: m.fences, Transfers: m.money})
					return err
				})
				mu.Lock()
				if err != nil && strings.Contains(err.Error(), m.want) && (found == nil || n < lowest) {
					lowest, found = n, err
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	return lowest, found
}

// caught turns a panic of the code under test into an error.
func caught(run func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return run()
}

// runScript runs the commands of a script and judges what the callers saw.
func runScript(t *testing.T, path string) error {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := &Script{}
	lines := strings.Split(string(text), "\n")
	for i, line := range lines {
		if line == "----" {
			fields := strings.Fields(lines[i-1])
			s.Do(fields[0], fields[1:])
		}
	}
	return s.Judge()
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
