package register_test

import (
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/chord-plugin/chord-plugin/internal/sim"
)

// TestScripts runs testdata/script/*.txt; sim.Script lists the commands. Use
// -rewrite to write down what happens now, and commit the change only if you
// understand the difference.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/script", func(t *testing.T, path string) {
		s := &sim.Script{Trace: true}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			var args []string
			for _, a := range d.CmdArgs {
				args = append(args, a.String())
			}
			return s.Do(d.Cmd, args)
		})
	})
}
