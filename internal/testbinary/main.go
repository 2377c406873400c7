// Package testbinary builds programs that the tests of a package run.
package testbinary

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"go.uber.org/goleak"
)

// Main is a TestMain: it builds packages, given as paths from the root of this
// module, which is root seen from the package under test; tells built the directory
// in which the programs then are, by the last parts of their paths; runs the tests,
// and fails when they leave goroutines behind. The directory goes in the end.
func Main(m *testing.M, root string, built func(dir string), packages ...string) {
	code, err := run(m, root, built, packages)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(code)
}

func run(m *testing.M, root string, built func(dir string), packages []string) (code int, err error) {
	dir, err := os.MkdirTemp("", "testbinary-")
	if err != nil {
		return 1, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	cmd := exec.Command("go", append([]string{"build", "-o", dir + string(os.PathSeparator)}, packages...)...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("build %v: %w\n%s", packages, err, out)
	}
	built(dir)
	code = m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			return 1, fmt.Errorf("goroutines are left: %w", err)
		}
	}
	return code, nil
}
