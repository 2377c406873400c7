package archtest

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// maxLines is how long a file of ours may be: one noun or one verb.
const maxLines = 500

// vague names say nothing about what a file holds.
var vague = []string{"util.go", "utils.go", "types.go", "helpers.go", "common.go", "misc.go"}

// unfinished is what nobody may leave in the code. The pattern is put together
// here so that it does not find itself.
var unfinished = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`)

var sleeping = regexp.MustCompile(`\btime\.` + `Sleep\(|\bt\.` + `Skip`)

func TestFiles(t *testing.T) {
	seen := 0
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && (name == "bin" || strings.HasPrefix(name, ".") && name != ".." && name != ".") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, ".pb.go") {
			return nil
		}
		seen++
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		path = strings.TrimPrefix(path, "../../")
		if n := bytes.Count(text, []byte("\n")); n > maxLines {
			t.Errorf("%s has %d lines; at most %d", path, n, maxLines)
		}
		if slices.Contains(vague, name) {
			t.Errorf("%s: the name does not say what it holds", path)
		}
		if m := unfinished.Find(text); m != nil {
			t.Errorf("%s: left unfinished (%s)", path, m)
		}
		if m := sleeping.Find(text); m != nil && strings.HasSuffix(name, "_test.go") && !strings.HasPrefix(path, "integration/") {
			t.Errorf("%s: %s in a test", path, m)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 50 {
		t.Fatalf("only %d files were looked at", seen)
	}
}
