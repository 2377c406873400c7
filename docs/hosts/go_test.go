// Package hosts_test runs the program that docs/hosts/go.md shows.
package hosts_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestProgramOfTheDocument(t *testing.T) {
	text, err := os.ReadFile("go.md")
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(text), "```go\n")
	require.True(t, found)
	program, _, found := strings.Cut(rest, "```\n")
	require.True(t, found)
	_, body, _ := strings.Cut(program, "func main() {\n")
	require.LessOrEqual(t, strings.Count(body, "\n"), 32, "about thirty lines")

	dir := t.TempDir()
	file, binary, pluginBinary := filepath.Join(dir, "main.go"), filepath.Join(dir, "program"), filepath.Join(dir, "chord-plugin")
	require.NoError(t, os.WriteFile(file, []byte(program), 0o600))
	for _, args := range [][]string{{"vet", file}, {"build", "-o", binary, file}, {"build", "-o", pluginBinary, "../../cmd/chord-plugin"}} {
		out, err := exec.CommandContext(t.Context(), "go", args...).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	out, err := exec.CommandContext(t.Context(), binary, pluginBinary).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, "app/visits = 1 (<nil>)\n", string(out))
}
