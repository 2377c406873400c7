package httpapi

import (
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"
)

// The limits that NewServer sets on connections.
const (
	// ReadHeaderTimeout is how long the header of a request may take.
	ReadHeaderTimeout = 10 * time.Second
	// IdleTimeout is how long a connection may wait for its next request.
	IdleTimeout = 2 * time.Minute
	// MaxHeaderBytes bounds the header of a request, key included; a larger one
	// gets 431. A key of 2,048 bytes takes three times that when it is escaped.
	MaxHeaderBytes = 64 << 10
)

// NewServer returns a server for h that slow and greedy clients can not keep
// busy. Bodies and responses are bounded by Handler itself, which knows the
// deadline of each request. The caller listens, serves and shuts down.
func NewServer(h *Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: ReadHeaderTimeout,
		IdleTimeout:       IdleTimeout,
		MaxHeaderBytes:    MaxHeaderBytes,
		ErrorLog:          h.log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Warn}),
	}
}
