package archtest

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/chord-plugin/chord-plugin"

// ours says which packages of the module a package may import. Everything not
// listed may import nothing of ours; packages under internal, integration and
// examples may import all.
var ours = map[string][]string{
	"backend":             {},
	"backend/memory":      {"backend"},
	"backend/locking":     {"backend"},
	"backend/opentx":      {"backend"},
	"backend/backendtest": {"backend"},
	"chord/ring":          {},
	"chord/register":      {"chord/ring"},
	"chord/fence":         {"chord/register", "chord/ring"},
	"chord/txn":           {"chord/register"},
	"chord/session":       {"chord/register", "chord/txn"},
	"chord/store":         {"chord/ring", "chord/register"},
	"gossip":              {"chord/ring"},
	"mesh":                {"chord/ring"},
	"chord":               {"backend", "backend/locking", "chord/ring", "chord/register", "chord/fence", "chord/txn", "chord/session", "chord/store", "gossip", "mesh"},
	"plugin/proto":        {},
	"plugin":              {"backend", "backend/locking", "backend/opentx", "plugin/proto"},
	"httpapi":             {"backend", "backend/locking", "backend/opentx", "internal/jsontext"},
	"cmd/chord-plugin":    {"backend", "chord/ring", "httpapi", "internal/agent", "internal/jsontext", "internal/moving", "plugin"},
	"backend/hosting":     {"backend", "internal/agent", "plugin"},
}

// pure packages import the standard library only, and of it nothing that waits,
// reads or writes.
var pure = []string{"chord/ring", "chord/register", "chord/fence", "chord/txn", "chord/session"}

var impure = []string{"os", "net", "context", "log", "log/slog", "io/fs", "time/tzdata", "sync/atomic"}

// only says which packages alone may import a library.
var only = map[string][]string{
	"github.com/hashicorp/memberlist":     {"gossip"},
	"github.com/hashicorp/go-msgpack/v2":  {"mesh"},
	"github.com/cockroachdb/pebble/v2":    {"chord/store"},
	"google.golang.org/grpc":              {"plugin", "plugin/proto"},
	"google.golang.org/protobuf":          {"plugin", "plugin/proto", "internal/moving"},
	"github.com/hashicorp/go-plugin":      {"plugin"},
	"github.com/hashicorp/cli":            {"cmd/chord-plugin"},
	"github.com/hashicorp/hcl/v2":         {"internal/agent"},
	"github.com/anishathalye/porcupine":   {"backend/backendtest", "internal/sim", "internal/txnsim", "integration"},
	"github.com/prometheus/client_golang": {"internal/agent"},
}

type pkg struct {
	ImportPath, Name, Doc string
	Imports, TestImports  []string
	XTestImports          []string
	GoFiles               []string
}

// packages lists the module, as the go command sees it.
func packages(t *testing.T) map[string]pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Name,Doc,Imports,TestImports,XTestImports,GoFiles", module+"/...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	pkgs := map[string]pkg{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs[strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")] = p
	}
	if len(pkgs) < 10 {
		t.Fatalf("only %d packages found", len(pkgs))
	}
	return pkgs
}

func free(path string) bool {
	for _, dir := range []string{"internal/", "integration", "examples/", "plugin/internal/"} {
		if strings.HasPrefix(path, dir) {
			return true
		}
	}
	return false
}

func TestImportsGoOneWay(t *testing.T) {
	for path, p := range packages(t) {
		for _, imp := range p.Imports {
			dep, isOurs := strings.CutPrefix(imp, module+"/")
			if !isOurs || free(path) {
				continue
			}
			if allowed, listed := ours[path]; !listed {
				t.Errorf("%s is not in the table of this test; add it, with what it may import", path)
			} else if !slices.Contains(allowed, dep) {
				t.Errorf("%s imports %s; it may import %v", path, dep, allowed)
			}
		}
	}
}

func TestLibrariesStayWhereTheyBelong(t *testing.T) {
	for path, p := range packages(t) {
		for _, imp := range p.Imports {
			for lib, users := range only {
				if imp != lib && !strings.HasPrefix(imp, lib+"/") {
					continue
				}
				if !slices.ContainsFunc(users, func(u string) bool { return path == u || strings.HasPrefix(path, u+"/") }) {
					t.Errorf("%s imports %s; only %v may", path, imp, users)
				}
			}
		}
	}
}

func TestPurePackages(t *testing.T) {
	pkgs := packages(t)
	for _, path := range pure {
		for _, imp := range pkgs[path].Imports {
			if slices.Contains(impure, imp) || strings.Contains(imp, ".") && !strings.HasPrefix(imp, module) {
				t.Errorf("%s imports %s, but is to be pure", path, imp)
			}
		}
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	for path, p := range packages(t) {
		want := "Package " + p.Name + " "
		if p.Name == "main" {
			want = "Command "
		}
		if len(p.GoFiles) > 0 && !strings.HasPrefix(p.Doc, want) && path != "plugin/proto" {
			t.Errorf("%s has no package comment that begins with %q", path, want)
		}
	}
}
