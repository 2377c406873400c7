//go:build mutation

package txnsim

import (
	"flag"
	"fmt"
	"strings"
	"testing"

	"github.com/chord-plugin/chord-plugin/chord/txn"
)

var only = flag.String("rule", "", "the one rule that TestMutations takes out")

// limits says in how many seeds a rule that was taken out must be missed.
var limits = map[string]uint64{
	"createlate": 100, "novalidate": 100, "forgetfirst": 1000, "nolistcheck": 100, "ignoreintent": 1000, "onepass": 100, "statusafter": 1000,
	"nonudge": 20000, "absentold": 5000, "statusperkey": 20000, "applyearly": 100, "placeagain": 20000,
}

// scripts show the rules that chance would hardly find missed.
var scripts = map[string]func() error{"manymoments": listOfTwoMoments}

// TestMutations takes out one rule after the other and expects a run that is not
// strictly serializable, or ends badly, and that the same run is clean with the
// rule in place.
func TestMutations(t *testing.T) {
	defer txn.Break("")
	for _, rule := range txn.Rules {
		if *only != "" && rule != *only {
			continue
		}
		run, how := scripts[rule], "a script"
		try := func() error { return run() }
		if run == nil {
			var n uint64
			run = func() error { _, err := Run(options(n)); return err }
			try = func() (err error) {
				for n = 1; n <= limits[rule] && err == nil; n++ {
					how = fmt.Sprintf("seed %d", n)
					err = run()
				}
				n--
				return err
			}
		}
		txn.Break(rule)
		err := try()
		txn.Break("")
		if err == nil {
			t.Errorf("%s: nothing broke up to %s", rule, how)
			continue
		}
		t.Logf("%-14s %-12s %s", rule, how, firstLine(err))
		if err := run(); err != nil {
			t.Errorf("%s: with the rule in place %s fails: %v", rule, how, err)
		}
	}
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(fmt.Sprint(err), "\n")
	return line
}
