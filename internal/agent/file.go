package agent

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// maxFile bounds a configuration file in bytes.
const maxFile = 1 << 20

// readFile takes the settings from an HCL file of the form key = value.
func readFile(name string) (Layer, error) {
	l := Layer{Values: map[string]string{}, Label: func(key string) string { return name + ": " + key }}
	text, err := readBounded(name)
	if err != nil {
		return l, fmt.Errorf("config: %w", err)
	}
	file, diags := hclsyntax.ParseConfig(text, name, hcl.InitialPos)
	if diags.HasErrors() {
		return l, fmt.Errorf("config: %w", diags)
	}
	attributes, diags := file.Body.JustAttributes()
	if diags.HasErrors() {
		return l, fmt.Errorf("config: %w", diags)
	}
	for _, key := range slices.Sorted(maps.Keys(attributes)) {
		if key == "config" {
			return l, fmt.Errorf("%s: config: a file names no other file; leave it out", name)
		}
		if l.Values[key], err = written(attributes[key]); err != nil {
			return l, fmt.Errorf("%s: %w", l.Label(key), err)
		}
	}
	return l, nil
}

// written returns the value of an attribute as it would be written in a flag.
func written(a *hcl.Attribute) (string, error) {
	// A word is no list, but null is both.
	var list []string
	if !gohcl.DecodeExpression(a.Expr, nil, &list).HasErrors() {
		return strings.Join(list, ","), nil
	}
	var word string
	if diags := gohcl.DecodeExpression(a.Expr, nil, &word); diags.HasErrors() {
		return "", diags
	}
	return word, nil
}

func readBounded(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() // it was only read
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("%s has more than %d bytes", name, maxFile)
	}
	return text, nil
}
