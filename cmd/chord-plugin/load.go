package main

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/chord-plugin/chord-plugin/plugin"
)

// layer is one source of settings: values by key, and what the source calls a
// key.
type layer struct {
	values map[string]string
	label  func(key string) string
}

// load reads the configuration from the top layer (flags, or a host's map), the
// environment, a file if either names one, and the defaults, in this order of
// precedence. Every value that is given is checked, also one that another
// overrides, and all that is wrong is in the error.
func load(top layer, environ []string, inPlugin bool) (*config, error) {
	c := &config{inPlugin: inPlugin, from: map[string]string{}}
	environment, errs := readEnvironment(environ)
	errs = append(errs, unknownKeys(top)...)

	layers := []layer{environment, top}
	if file := c.fileOf(layers); file != "" {
		fromFile, err := readFile(file)
		if err != nil {
			return nil, errors.Join(append(errs, err)...)
		}
		errs = append(errs, unknownKeys(fromFile)...)
		layers = append([]layer{fromFile}, layers...)
	}
	for _, s := range settings {
		def, ok := pluginDefaults[s.key]
		if !ok || !inPlugin {
			def = s.def
		}
		if def != "" {
			if err := s.set(c, def); err != nil {
				errs = append(errs, fmt.Errorf("the default of %s, %q: %w", s.key, def, err))
			}
		}
		for _, l := range layers {
			if v, ok := l.values[s.key]; ok {
				c.from[s.key] = l.label(s.key)
				errs = append(errs, s.refuse(c, v))
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return c, c.complete()
}

// refuse sets a value that somebody gave, or says what is wrong with it.
func (s *setting) refuse(c *config, v string) error {
	err := s.set(c, v)
	if err == nil {
		return nil
	}
	shown := fmt.Sprintf("%q", v)
	if s.secret {
		shown = fmt.Sprintf("%d characters that are not shown here", len(v))
	}
	if errors.Is(err, errRefused) {
		return fmt.Errorf("%s: it is %s; allowed is %s", c.from[s.key], shown, s.allowed)
	}
	return fmt.Errorf("%s: it is %s; allowed is %s: %w", c.from[s.key], shown, s.allowed, err)
}

// fileOf returns the file that the topmost layer names.
func (c *config) fileOf(layers []layer) string {
	for _, l := range slices.Backward(layers) {
		if file := l.values["config"]; file != "" {
			return file
		}
	}
	return ""
}

func keys() []string {
	all := make([]string, len(settings))
	for i, s := range settings {
		all[i] = s.key
	}
	return all
}

// unknownKeys returns an error for each key that is no setting.
func unknownKeys(l layer) []error {
	var errs []error
	known := keys()
	for _, key := range slices.Sorted(maps.Keys(l.values)) {
		if !slices.Contains(known, key) {
			errs = append(errs, fmt.Errorf("%s: there is no such setting; did you mean %q?", l.label(key), nearest(key, known)))
		}
	}
	return errs
}

// foreign are variables that begin like ours and are not: go-plugin's cookie,
// what our own tests use, and what Kubernetes sets in every container for a
// service whose name begins with "chord".
var foreign = regexp.MustCompile(`^(` + regexp.QuoteMeta(plugin.Handshake.MagicCookieKey) +
	`|CHORD_TEST_.*` +
	`|CHORD_(.*_)?(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?))$`)

// readEnvironment takes the settings from variables NAME=value. An empty value
// is one that is not set.
func readEnvironment(environ []string) (layer, []error) {
	l := layer{values: map[string]string{}, label: variable}
	var errs []error
	known := make([]string, len(settings))
	for i, s := range settings {
		known[i] = s.variable()
	}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		switch {
		case !strings.HasPrefix(name, "CHORD_"), foreign.MatchString(name):
		case !slices.Contains(known, name):
			errs = append(errs, fmt.Errorf("the environment variable %s is no setting; did you mean %s?", name, nearest(name, known)))
		case value != "":
			l.values[strings.ToLower(strings.TrimPrefix(name, "CHORD_"))] = value
		}
	}
	return l, errs
}

// lookup returns a variable of the environment, or "".
func lookup(environ []string, name string) string {
	for _, entry := range environ {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value
		}
	}
	return ""
}
