package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
)

const (
	// lockDelaySeconds is the number below which a lock delay without a unit is in
	// seconds; others are in nanoseconds.
	lockDelaySeconds = 1000
	// maxTTLText bounds the text of a TTL, which is kept as it came.
	maxTTLText = 64
	// consulData begins the data of a session that was made as Consul's clients do.
	consulData = "consul:"
	// nodeHealth is the check of Consul's that every node has, whether a client
	// names it or not.
	nodeHealth = "serfHealth"
)

// sessionInput is what /v1/session/create takes.
type sessionInput struct {
	Name, Node    string
	LockDelay     json.RawMessage
	Behavior      backend.Behavior
	TTL           string
	Checks        []string
	NodeChecks    []string
	ServiceChecks []struct{ ID string }
	// Data is ours. Who gives it, also if it is empty, keeps with the session what
	// it likes, and Node is not kept.
	Data                 *[]byte
	Namespace, Partition string
}

// sentToConsul is what is kept of a session that has no place in backend.Session.
type sentToConsul struct{ Node, TTL string }

func readConsulData(data []byte) (sent sentToConsul, ok bool) {
	text, ok := bytes.CutPrefix(data, []byte(consulData))
	return sent, ok && json.Unmarshal(text, &sent) == nil
}

// options returns the session that is asked for, or Consul's error.
func (in *sessionInput) options() (backend.SessionOptions, error) {
	opts := backend.SessionOptions{Name: in.Name, Behavior: in.Behavior}
	invalid := func(status int, format string, args ...any) (backend.SessionOptions, error) {
		return backend.SessionOptions{}, &statusError{status, backend.Errorf(backend.Invalid, "", format, args...)}
	}
	if in.Namespace != "" || in.Partition != "" {
		return invalid(http.StatusBadRequest, "Invalid session: namespaces and partitions do not exist here")
	}
	checks := append(in.Checks, in.NodeChecks...)
	for _, check := range in.ServiceChecks {
		checks = append(checks, check.ID)
	}
	for _, check := range checks {
		if check != nodeHealth {
			return invalid(http.StatusInternalServerError, "Missing check '%s' registration: checks do not exist here, so none can end a session; give it a TTL instead", check)
		}
	}
	switch in.Behavior {
	case "", backend.BehaviorRelease, backend.BehaviorDelete:
	default:
		return invalid(http.StatusInternalServerError, "Invalid Behavior setting '%s'", in.Behavior)
	}
	if in.TTL != "" {
		ttl, err := time.ParseDuration(in.TTL)
		switch {
		case err != nil:
			return invalid(http.StatusInternalServerError, "Session TTL '%s' invalid: %w", in.TTL, err)
		case ttl != 0 && (ttl < backend.MinTTL || ttl > backend.MaxTTL) || len(in.TTL) > maxTTLText:
			return invalid(http.StatusInternalServerError, "Invalid Session TTL '%s', must be between [%v=%v]", in.TTL, backend.MinTTL, backend.MaxTTL)
		}
		opts.TTL = ttl
	}
	if len(in.Node) > backend.MaxSessionName {
		return invalid(http.StatusBadRequest, "Invalid Node: it has %d bytes and may have %d", len(in.Node), backend.MaxSessionName)
	}
	var err error
	if opts.LockDelay, err = readLockDelay(in.LockDelay); err != nil {
		return invalid(http.StatusBadRequest, "Request decode failed: LockDelay %s is no time of 0 or more; give \"15s\", or a number of seconds: %w", in.LockDelay, err)
	}
	if in.Data != nil {
		opts.Data = *in.Data
	} else {
		sent, _ := json.Marshal(sentToConsul{Node: in.Node, TTL: in.TTL}) // two strings
		opts.Data = append([]byte(consulData), sent...)
	}
	return opts, backend.CheckSession(opts)
}

// errNegative is a lock delay below 0.
var errNegative = errors.New("it is negative")

// readLockDelay reads a duration as Go writes it, or a number. What is over
// backend.MaxLockDelay is that, as in Consul.
func readLockDelay(text json.RawMessage) (time.Duration, error) {
	s := strings.TrimSpace(string(text))
	if s == "" || s == "null" {
		return 0, nil
	}
	var delay time.Duration
	if s[0] == '"' {
		var quoted string
		err := json.Unmarshal(text, &quoted)
		if err == nil {
			delay, err = time.ParseDuration(quoted)
		}
		if err != nil {
			return 0, err
		}
	} else {
		var number float64
		if err := json.Unmarshal(text, &number); err != nil {
			return 0, err
		}
		if number < lockDelaySeconds {
			number *= float64(time.Second)
		}
		delay = time.Duration(max(-1, min(number, float64(backend.MaxLockDelay))))
	}
	switch {
	case delay < 0:
		return 0, errNegative
	case delay == 0:
		return backend.NoLockDelay, nil
	}
	return min(delay, backend.MaxLockDelay), nil
}
