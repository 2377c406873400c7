package hosting

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/internal/agent"
	"github.com/chord-plugin/chord-plugin/plugin"
)

// Mode says where the node runs.
type Mode string

// The modes.
const (
	// ModePlugin is a process of its own, which the host starts.
	ModePlugin Mode = "plugin"
	// ModeEmbedded is the host's process.
	ModeEmbedded Mode = "embedded"
)

// A Key is a key of the stanza that is not a setting of the node.
type Key struct {
	Name string
	// Default is empty where there is none.
	Default string
	// Doc says what it is, and what is allowed.
	Doc string
	set func(*stanza, string) error
}

// Keys are all keys of the stanza besides the settings of the node.
func Keys() []Key { return slices.Clone(keys) }

var keys = []Key{
	{"mode", string(ModePlugin), "where the node runs: plugin, a process that the host starts, or embedded, the host's own process", func(s *stanza, v string) error {
		s.mode = Mode(v)
		if s.mode != ModePlugin && s.mode != ModeEmbedded {
			return errors.New("allowed are plugin and embedded")
		}
		return nil
	}},
	{"plugin_path", "", "the plugin's binary; required in mode plugin, and refused in mode embedded like the other keys of the plugin", func(s *stanza, v string) error {
		s.plugin.Path = v
		return nil
	}},
	{"plugin_sha256", "", "the checksum that the binary must have, in hex; without it any binary is started", func(s *stanza, v string) error {
		s.plugin.SHA256 = v
		if sum, err := hex.DecodeString(v); err != nil || len(sum) != sha256.Size {
			return fmt.Errorf("allowed are %d hexadecimal digits, as sha256sum prints them", 2*sha256.Size)
		}
		return nil
	}},
	{"plugin_start_timeout", plugin.DefaultStartTimeout.String(), "how long the plugin may take until it answers, 1s to 10m", duration(time.Second, 10*time.Minute, func(s *stanza) *time.Duration { return &s.plugin.StartTimeout })},
	{"timeout", "60s", "how long an operation may take that the host sets no deadline, 1s to 1h; taking a lock may take for ever", duration(time.Second, time.Hour, func(s *stanza) *time.Duration { return &s.timeout })},
	{"ha_enabled", "true", "whether the host may use the storage for high availability: true or false", boolean(func(s *stanza) *bool { return &s.haEnabled })},
	{"session_ttl", "10s", "how long a lock outlives a host that is gone, 10s to 24h", duration(backend.MinTTL, backend.MaxTTL, func(s *stanza) *time.Duration { return &s.sessionTTL })},
	{"lock_delay", "0s", "how long after that nobody else may have the lock, 0s to 1m; 15s unless the storage has fences, which refuse what a former holder writes late", duration(0, backend.MaxLockDelay, func(s *stanza) *time.Duration { return &s.lockDelay })},
	{"standby_reads", "false", "whether standbys are told of every changed key, so that they may answer reads (OpenBao): true or false; each reads the whole storage after a change, once a second at most", boolean(func(s *stanza) *bool { return &s.standbyReads })},
}

// stanza is what a host's configuration says.
type stanza struct {
	mode         Mode
	plugin       plugin.Config
	timeout      time.Duration
	haEnabled    bool
	sessionTTL   time.Duration
	lockDelay    time.Duration
	standbyReads bool
	// given are the keys that the host set.
	given map[string]bool
}

// parse reads the stanza of a backend that is to be opened, or is open already. All that
// is wrong with its own keys is in the error, which is Invalid; the values of the node's
// settings are checked by the node.
func parse(config map[string]string, isOpen bool) (*stanza, error) {
	s := &stanza{given: map[string]bool{}, plugin: plugin.Config{Configuration: map[string]string{}}}
	var errs []error
	for _, k := range keys {
		if k.Default != "" {
			if err := k.set(s, k.Default); err != nil {
				errs = append(errs, fmt.Errorf("the default of %s, %q: %w", k.Name, k.Default, err))
			}
		}
	}
	nodes := map[string]*agent.Setting{}
	for _, setting := range agent.Settings {
		nodes[setting.Key] = setting
	}
	for _, name := range slices.Sorted(maps.Keys(config)) {
		value := config[name]
		i := slices.IndexFunc(keys, func(k Key) bool { return k.Name == name })
		setting := nodes[name]
		switch {
		case i >= 0:
			s.given[name] = true
			if err := keys[i].set(s, value); err != nil {
				errs = append(errs, fmt.Errorf("%s: it is %q; %w", name, value, err))
			}
		case setting == nil:
			errs = append(errs, fmt.Errorf("%s: there is no such key; did you mean %q?", name, agent.Nearest(name, names())))
		default:
			s.plugin.Configuration[name] = value
			if setting.List {
				s.plugin.Configuration[name] = list(value)
			}
		}
	}
	errs = append(errs, s.contradictions()...)
	if !isOpen && s.keepsNowhere() {
		errs = append(errs, errors.New("data_dir: it is not set, and there are no seeds; name the directory of a member, or the seeds of a ring to be a client of, or set memory = true for a ring of one that is gone with its process"))
	}
	if len(errs) > 0 {
		return nil, backend.Errorf(backend.Invalid, "", "the storage stanza: %w", errors.Join(errs...))
	}
	return s, nil
}

func (s *stanza) contradictions() []error {
	var errs []error
	if s.mode == ModePlugin && s.plugin.Path == "" {
		errs = append(errs, errors.New("plugin_path: it is not set; give the path of the plugin's binary, or set mode to embedded"))
	}
	for _, name := range []string{"plugin_path", "plugin_sha256", "plugin_start_timeout"} {
		if s.mode == ModeEmbedded && s.given[name] {
			errs = append(errs, fmt.Errorf("%s: the mode is embedded, which starts no plugin; leave %s out", name, name))
		}
	}
	return errs
}

// keepsNowhere tells that nothing says where the data is to be. The node takes that for a
// ring of one in memory, to try things out; hosts have data to lose.
func (s *stanza) keepsNowhere() bool {
	for _, name := range []string{"data_dir", "memory", "seeds", "expect"} {
		if _, ok := s.plugin.Configuration[name]; ok {
			return false
		}
	}
	return s.plugin.Configuration["role"] != "client" // which needs seeds, and says so
}

// inMemory tells that the node keeps nothing on disk.
func (s *stanza) inMemory() bool {
	memory, err := strconv.ParseBool(s.plugin.Configuration["memory"])
	return err == nil && memory
}

// names are all keys, sorted.
func names() []string {
	var all []string
	for _, k := range keys {
		all = append(all, k.Name)
	}
	for _, s := range agent.Settings {
		all = append(all, s.Key)
	}
	slices.Sort(all)
	return all
}

// list returns a list as the node's settings have it. A host gives a list of its
// configuration file as JSON.
func list(value string) string {
	var all []string
	if json.Unmarshal([]byte(value), &all) != nil {
		return value
	}
	return strings.Join(all, ",")
}

func duration(least, most time.Duration, to func(*stanza) *time.Duration) func(*stanza, string) error {
	return func(s *stanza, v string) error {
		d, err := time.ParseDuration(v)
		if err != nil || d < least || d > most {
			return fmt.Errorf("allowed is %v to %v, such as 30s", least, most)
		}
		*to(s) = d
		return nil
	}
}

func boolean(to func(*stanza) *bool) func(*stanza, string) error {
	return func(s *stanza, v string) error {
		b, err := strconv.ParseBool(v)
		if err != nil {
			return errors.New("allowed are true and false")
		}
		*to(s) = b
		return nil
	}
}
