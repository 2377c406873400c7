package httpapi

import (
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
)

// query is what every endpoint under /v1/kv/ understands, checked.
type query struct {
	url.Values
	stale bool
	index uint64 // of a blocking query; 0 where it is none
}

// parseQuery checks the parameters that are common to reads and writes, with
// Consul's texts.
func parseQuery(r *http.Request) (query, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return query{}, backend.Errorf(backend.Invalid, "", "Invalid query: %w", err)
	}
	q := query{Values: values, stale: values.Has("stale")}
	if q.stale && q.Has("consistent") {
		return q, backend.Errorf(backend.Invalid, "", "Cannot specify ?stale with ?consistent, conflicting semantics.")
	}
	if wait := q.Get("wait"); wait != "" {
		if _, err := time.ParseDuration(wait); err != nil {
			return q, backend.Errorf(backend.Invalid, "", "Invalid wait time")
		}
	}
	if index := q.Get("index"); index != "" {
		if q.index, err = strconv.ParseUint(index, 10, 64); err != nil {
			return q, backend.Errorf(backend.Invalid, "", "Invalid index")
		}
	}
	if dc := q.Get("dc"); dc != "" && dc != datacenter {
		return q, &statusError{http.StatusInternalServerError, backend.Errorf(backend.Invalid, "", "No path to datacenter")}
	}
	for _, name := range []string{"ns", "partition"} {
		if q.Get(name) != "" {
			return q, backend.Errorf(backend.Invalid, "", "Invalid query parameter: %q - namespaces and partitions do not exist here", name)
		}
	}
	return q, nil
}

// exclusive returns an error when more than one of names was given.
func (q query) exclusive(names ...string) error {
	found := false
	for _, name := range names {
		if !q.Has(name) {
			continue
		}
		if found {
			return backend.Errorf(backend.Invalid, "", "Conflicting flags: %v", q.Encode())
		}
		found = true
	}
	return nil
}

// number returns the parameter name as a number; Consul answers 500 when it is
// none, with the text of strconv.
func (q query) number(name string) (n uint64, given bool, err error) {
	if !q.Has(name) {
		return 0, false, nil
	}
	n, err = strconv.ParseUint(q.Get(name), 10, 64)
	if err != nil {
		return 0, true, &statusError{http.StatusInternalServerError, backend.Errorf(backend.Invalid, "", "%w", err)}
	}
	return n, true, nil
}

// natural is number for a parameter of our own, whose mistakes are 400.
func (q query) natural(name string) (uint64, error) {
	n, _, err := q.number(name)
	if err != nil {
		return 0, backend.Errorf(backend.Invalid, "", "Invalid %s %q: give a whole number of up to 64 bits", name, q.Get(name))
	}
	return n, nil
}

// fence returns the fence that a write carries, zero for none.
func (q query) fence() (backend.Fence, error) {
	token, err := q.natural("fence_token")
	return backend.Fence{Key: q.Get("fence_key"), Token: token}, err
}

// lifetime returns what ?expires_after asks for, 0 for none.
func (q query) lifetime() (time.Duration, error) {
	asked := q.Get("expires_after")
	if asked == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(asked)
	if err != nil {
		return 0, backend.Errorf(backend.Invalid, "", "Invalid expires_after %q: give a duration, for example 30s", asked)
	}
	return d, nil
}

// putOptions returns what the parameters of a PUT ask for besides ?cas.
func (q query) putOptions() (opts backend.PutOptions, err error) {
	if opts.Flags, _, err = q.number("flags"); err != nil {
		return opts, err
	}
	if opts.ExpiresAfter, err = q.lifetime(); err != nil {
		return opts, err
	}
	opts.Fence, err = q.fence()
	return opts, err
}

// condition returns what ?cas asks for.
func (q query) condition() (backend.Condition, error) {
	n, given, err := q.number("cas")
	if err != nil || !given {
		return backend.Condition{}, err
	}
	return backend.IfIndex(n), nil
}
