package agent

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/chord-plugin/chord-plugin/plugin"
)

// Layer is one source of settings: values by key, and what the source calls a
// key.
type Layer struct {
	Values map[string]string
	Label  func(key string) string
}

// Load reads the configuration from the top Layer (flags, or a host's map), the
// environment, a file if either names one, and the defaults, in this order of
// precedence. Every value that is given is checked, also one that another
// overrides, and all that is wrong is in the error.
func Load(top Layer, environ []string, place Place) (*Config, error) {
	c := &Config{place: place, from: map[string]string{}}
	environment, errs := readEnvironment(environ)
	errs = append(errs, unknownKeys(top)...)

	layers := []Layer{environment, top}
	if file := c.fileOf(layers); file != "" {
		fromFile, err := readFile(file)
		if err != nil {
			return nil, errors.Join(append(errs, err)...)
		}
		errs = append(errs, unknownKeys(fromFile)...)
		layers = append([]Layer{fromFile}, layers...)
	}
	for _, s := range Settings {
		def, ok := hostDefaults[s.Key]
		if !ok || c.place == Standalone {
			def = s.def
		}
		if def != "" {
			if err := s.set(c, def); err != nil {
				errs = append(errs, fmt.Errorf("the default of %s, %q: %w", s.Key, def, err))
			}
		}
		for _, l := range layers {
			if v, ok := l.Values[s.Key]; ok {
				c.from[s.Key] = l.Label(s.Key)
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
func (s *Setting) refuse(c *Config, v string) error {
	err := s.set(c, v)
	if err == nil {
		return nil
	}
	shown := fmt.Sprintf("%q", v)
	if s.secret {
		shown = fmt.Sprintf("%d characters that are not shown here", len(v))
	}
	if errors.Is(err, errRefused) {
		return fmt.Errorf("%s: it is %s; allowed is %s", c.from[s.Key], shown, s.allowed)
	}
	return fmt.Errorf("%s: it is %s; allowed is %s: %w", c.from[s.Key], shown, s.allowed, err)
}

// fileOf returns the file that the topmost layer names.
func (c *Config) fileOf(layers []Layer) string {
	for _, l := range slices.Backward(layers) {
		if file := l.Values["config"]; file != "" {
			return file
		}
	}
	return ""
}

func keys() []string {
	all := make([]string, len(Settings))
	for i, s := range Settings {
		all[i] = s.Key
	}
	return all
}

// unknownKeys returns an error for each key that is no setting.
func unknownKeys(l Layer) []error {
	var errs []error
	known := keys()
	for _, key := range slices.Sorted(maps.Keys(l.Values)) {
		if !slices.Contains(known, key) {
			errs = append(errs, fmt.Errorf("%s: there is no such setting; did you mean %q?", l.Label(key), Nearest(key, known)))
		}
	}
	return errs
}

// foreign are variables that begin like settings and are none: go-plugin's cookie,
// what our own tests use, what chord-plugin lock tells its command, and what
// Kubernetes sets in every container for a service whose name begins with "chord".
var foreign = regexp.MustCompile(`^(` + regexp.QuoteMeta(plugin.Handshake.MagicCookieKey) +
	`|CHORD_TEST_.*|CHORD_LOCK_(KEY|SESSION|TOKEN)` +
	`|CHORD_(.*_)?(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?))$`)

// readEnvironment takes the settings from variables NAME=value. An empty value
// is one that is not set.
func readEnvironment(environ []string) (Layer, []error) {
	l := Layer{Values: map[string]string{}, Label: Variable}
	var errs []error
	known := make([]string, len(Settings))
	for i, s := range Settings {
		known[i] = s.Variable()
	}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		switch {
		case !strings.HasPrefix(name, "CHORD_"), foreign.MatchString(name):
		case !slices.Contains(known, name):
			errs = append(errs, fmt.Errorf("the environment variable %s is no setting; did you mean %s?", name, Nearest(name, known)))
		case value != "":
			l.Values[strings.ToLower(strings.TrimPrefix(name, "CHORD_"))] = value
		}
	}
	return l, errs
}

// Lookup returns a variable of the environment, or "".
func Lookup(environ []string, name string) string {
	for _, entry := range environ {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value
		}
	}
	return ""
}
