//go:build mutation

package txnsim

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/session"
	"github.com/chord-plugin/chord-plugin/chord/txn"
	"github.com/chord-plugin/chord-plugin/internal/mutation"
)

var only = flag.String("rule", "", "the one rule that TestMutations takes out")

// limits says in how many seeds a rule that was taken out must be missed.
var limits = map[string]uint64{
	"createlate": 100, "novalidate": 100, "forgetfirst": 1000, "nolistcheck": 100, "ignoreintent": 1000, "onepass": 100, "statusafter": 1000,
	"nonudge": 20000, "absentold": 5000, "statusperkey": 20000, "applyearly": 100, "placeagain": 20000, "movedpending": 20000, "movedfrozen": 5000,

	"deadholder": 2000, "listdeadholder": 2000, "noalive": 2000, "sessionatcommit": 2000, "nolockdelay": 2000,
	"otherclock": 2000, "anyindex": 2000, "noslack": 2000, "enduncond": 2000,
}

// withSessions are the rules that runs with sessions show.
var withSessions = append([]string{"deadholder", "listdeadholder", "noalive", "sessionatcommit", "nolockdelay"}, session.Rules.Names()...)

// scripts show the rules that chance would hardly find missed.
var scripts = map[string]func() error{"manymoments": listOfTwoMoments, "locktombstone": lockOfTombstone, "blindindex": sweptUnderIntent, "forgetunswept": sweptUnderIntent, "heldread": holderEndsUnread}

// takeOut takes a rule out; "blindindex", that members name the sessions of intents
// too, is one of the node and not of the packages.
func takeOut(rule string) {
	mutation.Break(rule, txn.Rules, session.Rules, indexRules)
	blindIndex = indexRules.Has(rule)
}

var indexRules = mutation.New("blindindex")

// TestMutations takes out one rule after the other and expects a run that is not
// strictly serializable, or ends badly, and that the same run is clean with the
// rule in place.
func TestMutations(t *testing.T) {
	defer takeOut("")
	for _, rule := range slices.Concat(txn.Rules.Names(), session.Rules.Names(), indexRules.Names()) {
		if *only != "" && rule != *only {
			continue
		}
		run, how := scripts[rule], "a script"
		try := func() error { return run() }
		if run == nil {
			runs := Run
			if slices.Contains(withSessions, rule) {
				runs = RunSessions
			}
			var n uint64
			run = func() error { _, err := runs(options(n)); return err }
			try = func() (err error) {
				for n = 1; n <= limits[rule] && err == nil; n++ {
					how = fmt.Sprintf("seed %d", n)
					err = run()
				}
				n--
				return err
			}
		}
		began := time.Now()
		takeOut(rule)
		err := try()
		takeOut("")
		if err == nil {
			t.Errorf("%s: nothing broke up to %s", rule, how)
			continue
		}
		t.Logf("%-15s %-12s %6.2f s  %s", rule, how, time.Since(began).Seconds(), firstLine(err))
		if err := run(); err != nil {
			t.Errorf("%s: with the rule in place %s fails: %v", rule, how, err)
		}
	}
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(fmt.Sprint(err), "\n")
	return line
}
