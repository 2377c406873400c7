package httpapi

import (
	"context"
	"crypto/rand"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/opentx"
)

// The defaults of Config.
const (
	DefaultMaxValueSize   = 512 << 10
	DefaultMaxConcurrent  = 1024
	DefaultRequestTimeout = 30 * time.Second
	DefaultMaxTimeout     = 10 * time.Minute
)

const (
	// maxOperator is how many requests for health, metrics, members and the
	// ring run at once. They have places of their own so that an operator can
	// still look at a node whose data places are all taken.
	maxOperator = 64
	// writeGrace is how long a response may take to leave after its deadline.
	writeGrace = 30 * time.Second
)

// Config says what a Handler serves.
type Config struct {
	// Backend holds the keys. It is required and stays the caller's to close.
	Backend backend.Backend
	// Admin answers for members, ring and status. It is required.
	Admin backend.Admin
	// Logger gets one line a request at debug level. Nil logs nothing.
	Logger hclog.Logger
	// Metrics serves /v1/agent/metrics in Prometheus' format. Nil: 404.
	Metrics http.Handler
	// NodeName is shown in /v1/agent/self. Empty: the name in Admin's status.
	NodeName string
	// Hosts are the names, without ports, by which requests may call this node in
	// their Host header, besides IP addresses, localhost and what ends with
	// .localhost; any other is 403. Empty: any name.
	Hosts []string
	// MaxValueSize is the largest value that a PUT may carry, in bytes. The
	// smaller of it and the backend's limit counts. 0: 512 KiB, as in Consul.
	MaxValueSize int
	// MaxConcurrent is how many requests for data run at once; a further one
	// gets 503. Each holds at most one value or document in memory, so MaxConcurrent
	// times the larger of MaxValueSize and 512 KiB bounds what uploads take, but for
	// 16 large transactions of 16 MiB each. 0: 1024.
	MaxConcurrent int
	// RequestTimeout is the deadline of a request that names none, but for that to
	// leave, whose is MaxTimeout; and how long the body of any may take. 0: 30 s.
	RequestTimeout time.Duration
	// MaxTimeout bounds the deadline that a request may ask for with
	// X-Chord-Timeout. 0: 10 minutes.
	MaxTimeout time.Duration
}

// Handler is the HTTP API of one node. It starts no goroutine that outlives the
// request it belongs to, but for the end of idle transactions; see Close.
type Handler struct {
	cfg      Config
	log      hclog.Logger
	mux      *http.ServeMux
	origin   *http.CrossOriginProtection
	data     chan struct{}
	operator chan struct{}
	waiting  chan struct{}
	large    chan struct{}
	listings chan struct{}
	can      backend.Capability // of the backend
	watcher  backend.Watcher    // nil where the backend is none
	txs      *opentx.Table[string]
	maxItems int
	maxBytes int
	newest   atomic.Uint64
	// newestSession is the highest index of a session that was met, at least 1.
	newestSession atomic.Uint64
	requests      atomic.Uint64
	refused       atomic.Uint64
}

// New makes the API for cfg. It panics when Backend or Admin is nil, which no
// configuration of a user can cause.
func New(cfg Config) *Handler {
	if cfg.Backend == nil || cfg.Admin == nil {
		panic("httpapi: New needs a Backend and an Admin")
	}
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	if cfg.MaxValueSize <= 0 {
		cfg.MaxValueSize = DefaultMaxValueSize
	}
	if cfg.MaxConcurrent <= 0 {
		cfg.MaxConcurrent = DefaultMaxConcurrent
	}
	if cfg.RequestTimeout <= 0 {
		cfg.RequestTimeout = DefaultRequestTimeout
	}
	if cfg.MaxTimeout <= 0 {
		cfg.MaxTimeout = DefaultMaxTimeout
	}
	cfg.RequestTimeout = min(cfg.RequestTimeout, cfg.MaxTimeout)
	h := &Handler{
		cfg:      cfg,
		log:      cfg.Logger,
		origin:   http.NewCrossOriginProtection(),
		data:     make(chan struct{}, cfg.MaxConcurrent),
		operator: make(chan struct{}, maxOperator),
		waiting:  make(chan struct{}, maxWaiting),
		large:    make(chan struct{}, maxLarge),
		listings: make(chan struct{}, maxListings),
		can:      backend.CapabilitiesOf(cfg.Backend),
		maxItems: maxListItems,
		maxBytes: maxListBytes,
	}
	if h.can.Has(backend.CanWatch) {
		h.watcher = cfg.Backend.(backend.Watcher)
	}
	h.txs = opentx.New(opentx.Config[string]{Max: maxOpenTx, Idle: txIdle, Rollback: cfg.RequestTimeout, NewID: rand.Text})
	h.newest.Store(1)
	h.newestSession.Store(1)
	h.mux = h.routes()
	return h
}

// Stats counts requests since the start.
type Stats struct {
	// Requests counts all of them, Refused those that found no place.
	Requests, Refused uint64
	// InFlight requests for data run now; Limit may.
	InFlight, Limit int
	// Waiting blocking queries and watches wait now.
	Waiting int
	// Transactions are open, interactive ones.
	Transactions int
}

// Stats returns what was counted so far.
func (h *Handler) Stats() Stats {
	return Stats{Requests: h.requests.Load(), Refused: h.refused.Load(), InFlight: len(h.data), Limit: cap(h.data), Waiting: len(h.waiting), Transactions: h.txs.Len()}
}

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	h.requests.Add(1)
	rec := &recorder{ResponseWriter: w}
	boundBody(rec, r, h.cfg.RequestTimeout)
	h.admit(rec, r)
	if h.log.IsDebug() {
		h.log.Debug("request", "method", r.Method, "path", r.URL.Path, "status", rec.status, "took", time.Since(start), "from", r.RemoteAddr)
	}
}

// admit finds r a place and passes it on, or refuses it.
func (h *Handler) admit(w http.ResponseWriter, r *http.Request) {
	if err := h.checkCaller(r); err != nil {
		writeError(w, err)
		return
	}
	places := h.operator
	switch {
	case h.waits(r):
		places = h.waiting
	case isData(r.URL.Path):
		places = h.data
	}
	select {
	case places <- struct{}{}:
		defer func() { <-places }()
	default:
		h.refused.Add(1)
		writeError(w, backend.Errorf(backend.NotReady, "", "this node already serves %d requests, its limit; try again", cap(places)))
		return
	}
	h.dispatch(w, r)
}

// isData tells requests for keys and sessions from requests for the node itself.
func isData(path string) bool {
	return path == "/v1/kv" || strings.HasPrefix(path, "/v1/kv/") || path == "/v1/txn" ||
		strings.HasPrefix(path, "/v1/session/") || strings.HasPrefix(path, "/v1/chord/")
}

// needs is a for backends that can do c; others have the request refused.
func (h *Handler) needs(c backend.Capability, a answer) answer {
	return func(w http.ResponseWriter, r *http.Request) error {
		if !h.can.Has(c) {
			return backend.Errorf(backend.Invalid, "", "the backend of this agent has no %v", c)
		}
		return a(w, r)
	}
}

// answer writes the response of a request, or returns why it can not.
type answer func(w http.ResponseWriter, r *http.Request) error

// serve runs a with the request's deadline, which is usual when it names none,
// and writes its error.
func (h *Handler) serve(usual time.Duration, a answer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		timeout, err := h.timeout(r, usual)
		if err != nil {
			writeError(w, err)
			return
		}
		w.Header().Set(headerTimeout, timeout.String())
		// A client that reads slowly must not keep a place for ever. A
		// ResponseWriter without deadlines is no connection: nothing to bound.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(timeout + writeGrace))
		boundBody(w, r, min(timeout, h.cfg.RequestTimeout)) // who sends slowly has a place
		ctx, cancel := context.WithTimeout(r.Context(), timeout)
		defer cancel()
		if err := a(w, r.WithContext(ctx)); err != nil {
			writeError(w, asError(err, "", !isRead(r.Method)))
		}
	})
}

// boundBody sets how long the body of r may take. net/http reads bodies also
// when no endpoint asks for them, before it sends the answer.
func boundBody(w http.ResponseWriter, r *http.Request, timeout time.Duration) {
	if r.ContentLength != 0 {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(timeout))
	}
}

// timeout returns how long r may take: what it asks for, else what is usual.
func (h *Handler) timeout(r *http.Request, usual time.Duration) (time.Duration, error) {
	asked := r.Header.Get(headerTimeout)
	if asked == "" {
		return usual, nil
	}
	d, err := time.ParseDuration(asked)
	if err != nil || d <= 0 {
		return 0, backend.Errorf(backend.Invalid, "", "Invalid %s %q: give a duration above 0, for example 1.5s", headerTimeout, asked)
	}
	return min(d, h.cfg.MaxTimeout), nil
}

func isRead(method string) bool { return method == http.MethodGet || method == http.MethodHead }

// limits returns the sizes that the API accepts.
func (h *Handler) limits() backend.Limits {
	l := h.cfg.Backend.Limits()
	l.MaxValueSize = min(l.MaxValueSize, h.cfg.MaxValueSize)
	return l
}

// seen notes an index and returns the newest that was ever noted, at least 1.
func (h *Handler) seen(index uint64) uint64 { return raise(&h.newest, index) }

// raise makes index what n holds, unless that is higher, and returns what it holds.
func raise(n *atomic.Uint64, index uint64) uint64 {
	for {
		highest := n.Load()
		if index <= highest {
			return highest
		}
		if n.CompareAndSwap(highest, index) {
			return index
		}
	}
}

// recorder remembers the status for the log.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
