package agent

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/chord-plugin/chord-plugin/gossip"
)

// errRefused says of a value no more than what is allowed.
var errRefused = errors.New("refused")

// The kinds of settings. Each takes where the value goes.

func path(to func(*Config) *string) kind {
	return kind{allowed: "a path", set: func(c *Config, v string) error {
		if v == "" || strings.ContainsRune(v, 0) {
			return errRefused
		}
		*to(c) = v
		return nil
	}}
}

func name(to func(*Config) *string) kind {
	return kind{allowed: fmt.Sprintf("1 to %d bytes of printable text", gossip.MaxName), set: func(c *Config, v string) error {
		if v == "" || len(v) > gossip.MaxName || !utf8.ValidString(v) || strings.ContainsFunc(v, func(r rune) bool { return !unicode.IsPrint(r) }) {
			return errRefused
		}
		*to(c) = v
		return nil
	}}
}

func choice[T ~string](to func(*Config) *T, values ...T) kind {
	words := make([]string, len(values))
	for i, v := range values {
		words[i] = string(v)
	}
	last := len(words) - 1
	return kind{allowed: strings.Join(words[:last], ", ") + " or " + words[last], set: func(c *Config, v string) error {
		if !slices.Contains(values, T(v)) {
			return errRefused
		}
		*to(c) = T(v)
		return nil
	}}
}

func boolean(to func(*Config) *bool) kind {
	return kind{allowed: "true or false", Boolean: true, set: func(c *Config, v string) error {
		if v != "true" && v != "false" {
			return errRefused
		}
		*to(c) = v == "true"
		return nil
	}}
}

func integer(least, most int, unit string, to func(*Config) *int) kind {
	return kind{allowed: fmt.Sprintf("%d to %d%s", least, most, unit), set: func(c *Config, v string) error {
		n, err := strconv.Atoi(v)
		if err != nil || n < least || n > most {
			return errRefused
		}
		*to(c) = n
		return nil
	}}
}

// units are what a number of bytes may end with.
var units = []struct {
	suffix string
	bytes  int
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"", 1}}

// The bounds of a rate, in bytes a second.
const (
	leastRate = 1 << 10
	mostRate  = 64 << 30
)

// rate takes bytes a second.
func rate(to func(*Config) *int) kind {
	return kind{allowed: "1KiB to 64GiB, or a number of bytes", set: func(c *Config, v string) error {
		for _, unit := range units {
			digits, ok := strings.CutSuffix(v, unit.suffix)
			if !ok {
				continue
			}
			n, err := strconv.Atoi(digits)
			if err != nil || n < 1 || n > mostRate/unit.bytes || n*unit.bytes < leastRate {
				return errRefused
			}
			*to(c) = n * unit.bytes
			return nil
		}
		return errRefused
	}}
}

// rateOrAuto is rate, or "auto" for 0: gently.
func rateOrAuto(to func(*Config) *int) kind {
	k := rate(to)
	number := k.set
	k.allowed = "auto, " + k.allowed
	k.set = func(c *Config, v string) error {
		if v == "auto" {
			*to(c) = 0
			return nil
		}
		return number(c, v)
	}
	return k
}

// The bounds of dead_member_reap_after. A member that is only being restarted is
// not to be replaced.
const leastReap, mostReap = time.Second, 30 * 24 * time.Hour

func reapAfter() kind {
	return kind{allowed: "1s to 720h, or off", set: func(c *Config, v string) error {
		if v == "off" {
			c.node.ReapAfter = -1
			return nil
		}
		d, err := time.ParseDuration(v)
		if err != nil || d < leastReap || d > mostReap {
			return errRefused
		}
		c.node.ReapAfter = d
		return nil
	}}
}

func clockDrift() kind {
	return kind{allowed: "1s to 24h", set: func(c *Config, v string) error {
		d, err := time.ParseDuration(v)
		if err != nil || d < time.Second || d > 24*time.Hour {
			return errRefused
		}
		c.node.MaxClockDrift = d
		return nil
	}}
}

// address takes host:port; the port may be 0, which picks a free one.
func address(to func(*Config) *string) kind {
	return kind{allowed: "host:port, such as 127.0.0.1:7946", set: func(c *Config, v string) error {
		if err := checkAddress(v); err != nil {
			return err
		}
		*to(c) = v
		return nil
	}}
}

// optionalAddress is address that an empty value switches off.
func optionalAddress(to func(*Config) *string) kind {
	k := address(to)
	k.allowed += ", or empty"
	set := k.set
	k.set = func(c *Config, v string) error {
		if v == "" {
			*to(c) = ""
			return nil
		}
		return set(c, v)
	}
	return k
}

func checkAddress(v string) error {
	host, port, err := net.SplitHostPort(v)
	if err != nil {
		return errRefused
	}
	if host == "" {
		return errors.New("it names no host; 0.0.0.0 is every interface")
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return errors.New("ports are 0 to 65535")
	}
	return nil
}

// list takes up to most values that check lets pass, of which what says what they are.
func list(most int, what string, check func(string) error, to func(*Config) *[]string) kind {
	return kind{List: true, allowed: fmt.Sprintf("up to %d %s, separated by commas", most, what), set: func(c *Config, v string) error {
		var all []string
		for field := range strings.SplitSeq(v, ",") {
			field = strings.TrimSpace(field)
			if err := check(field); err != nil {
				return err
			}
			all = append(all, field)
		}
		if len(all) > most {
			return errRefused
		}
		*to(c) = all
		return nil
	}}
}

func checkSeed(v string) error {
	if err := checkAddress(v); err != nil {
		return err
	}
	if strings.HasSuffix(v, ":0") {
		return errors.New("port 0 cannot be called")
	}
	return nil
}

// checkHost takes a name without a port. Addresses need not be named.
func checkHost(v string) error {
	if v == "" || strings.ContainsFunc(v, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune(".-_", r)
	}) {
		return errRefused
	}
	return nil
}

// maxGossipKeys is enough to change one while the last change is not over.
const maxGossipKeys = 4

func gossipKeys() kind {
	allowed := fmt.Sprintf("16, 24 or 32 bytes in base64, or up to %d of those, separated by commas", maxGossipKeys)
	return kind{List: true, secret: true, allowed: allowed, set: func(c *Config, v string) error {
		var keys [][]byte
		for field := range strings.SplitSeq(v, ",") {
			key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(field))
			if err != nil || !slices.Contains([]int{16, 24, 32}, len(key)) {
				return errRefused
			}
			keys = append(keys, key)
		}
		if len(keys) > maxGossipKeys {
			return errRefused
		}
		c.node.GossipKeys = keys
		return nil
	}}
}
