package fleet

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
)

// Build builds Vault and chord-plugin and returns where they are: in dir, which has an
// absolute path. Module is the directory of this module. The first build of Vault takes
// minutes.
func Build(ctx context.Context, module, dir string) (vault, plugin string, err error) {
	vault, plugin = filepath.Join(dir, "vault"), filepath.Join(dir, "chord-plugin")
	for _, b := range []struct {
		dir  string
		args []string
	}{
		{filepath.Join(module, "..", "..", ".."), []string{"-o", plugin, "./cmd/chord-plugin"}},
		{module, []string{"-tags", "vaultsdk09", "-ldflags", "-s -w", "-o", vault, "./server"}},
	} {
		cmd := exec.CommandContext(ctx, "go", append([]string{"build"}, b.args...)...)
		cmd.Dir = b.dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", "", fmt.Errorf("go build %v: %w\n%s", b.args, err, out)
		}
	}
	return vault, plugin, nil
}
