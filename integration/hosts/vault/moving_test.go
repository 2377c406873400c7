package vault

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/integration/hosts/vault/fleet"
)

// secrets is how many the Vault has that moves.
const secrets = 50

// fileVault is a Vault with file storage that has secrets and does not run any more.
func fileVault(t *testing.T) (dir string, f *fleet.Fleet) {
	dir = t.TempDir()
	f = newFleet(t, fleet.Config{Servers: 1, Storage: fmt.Sprintf("storage \"file\" {\n  path = %q\n}", dir)})
	play(t, f, func(s *stage) {
		s.must(s.Start(s.ctx))
		s.must(s.Init(s.ctx))
		s.must(s.Unseal(s.ctx, s.Servers...))
		s.must(s.Mount(s.ctx, s.Servers[0]))
		for i := range secrets {
			s.ok(s.Servers[0], http.MethodPost, fmt.Sprintf("%s/data/old/%d", fleet.KV, i), object{"data": object{"n": i}})
		}
		s.must(s.Servers[0].Stop(s.ctx))
	})
	return dir, f
}

// moved moves the data of a Vault with file storage to three servers that wait to be
// initialised, unseals them with the keys of the old one, and reads what it had.
func moved(t *testing.T, move func(s *stage, dir string)) {
	dir, old := fileVault(t)
	play(t, newFleet(t, fleet.Config{Servers: 3}), func(s *stage) {
		s.must(s.Start(s.ctx))
		move(s, dir)
		s.Keys, s.Root = old.Keys, old.Root
		s.must(s.Unseal(s.ctx, s.Servers...))
		s.active()
		for i := range secrets {
			a := s.ok(s.at(), http.MethodGet, fmt.Sprintf("%s/data/old/%d", fleet.KV, i), nil)
			require.Equal(s, float64(i), a.Get("data", "data", "n"))
		}
		s.ok(s.at(), http.MethodPost, fleet.KV+"/data/new", object{"data": object{"n": 1}})
	})
}

// command runs a command and returns what it says.
func (s *stage) command(path string, args ...string) string {
	s.Helper()
	cmd := exec.CommandContext(s.ctx, path, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.TempDir()}
	out, err := cmd.CombinedOutput()
	require.NoError(s, err, string(out))
	return string(out)
}

// TestOperatorMigrate: Vault's own command moves a file storage into the ring, which
// runs already.
func TestOperatorMigrate(t *testing.T) {
	moved(t, func(s *stage, dir string) {
		config := filepath.Join(s.TempDir(), "migrate.hcl")
		text := fmt.Sprintf(`storage_source "file" {
  path = %q
}
storage_destination "chord" {
  plugin_path = %q
  seeds       = %s
}
`, dir, pluginBinary, s.Seeds())
		s.must(os.WriteFile(config, []byte(text), 0o600))
		out := s.command(vaultBinary, "operator", "migrate", "-config", config)
		require.Contains(s, out, "Success! All of the keys have been migrated.")
		out = s.command(pluginBinary, "import", "-http-addr", s.Servers[0].RingAddr, "-dry-run", "vault-file", dir)
		require.Contains(s, out, "would be written: 0", "the file storage and the ring are equal")
	})
}

// TestImport: chord-plugin brings in a file storage through the HTTP API of a member.
func TestImport(t *testing.T) {
	moved(t, func(s *stage, dir string) {
		s.Log(s.command(pluginBinary, "import", "-http-addr", s.Servers[0].RingAddr, "vault-file", dir))
	})
}
