package sim

import (
	"testing"

	"github.com/cockroachdb/datadriven"
)

// TestScripts runs testdata/*.txt: schedules thought out by a person, each of
// which breaks linearizability when one rule of the protocol is taken out (see
// mutation_test.go). Use -rewrite to write down what happens now, and commit the
// change only if you understand the difference.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s := &Script{Trace: true}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			return s.Do(d.Cmd, arguments(d))
		})
	})
}

func arguments(d *datadriven.TestData) []string {
	var args []string
	for _, a := range d.CmdArgs {
		args = append(args, a.String())
	}
	return args
}
