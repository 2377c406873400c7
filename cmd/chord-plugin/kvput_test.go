package main

import (
	"bytes"
	"io"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/memory"
	"github.com/chord-plugin/chord-plugin/httpapi"
)

// late is an input that comes when a time-out is over that began before it was read.
type late struct {
	io.Reader
	timeout time.Duration
	once    sync.Once
}

func (l *late) Read(p []byte) (int, error) {
	l.once.Do(func() { <-time.After(l.timeout) })
	return l.Reader.Read(p)
}

// TestLateValue: the time-out is for the agent, not for whoever types the value.
func TestLateValue(t *testing.T) {
	store := memory.New(backend.DefaultLimits())
	handler := httpapi.New(httpapi.Config{Backend: store, Admin: &scripted{}})
	server := httptest.NewServer(handler)
	t.Cleanup(func() {
		server.Close()
		require.NoError(t, handler.Close())
		require.NoError(t, store.Close())
	})
	const timeout = time.Second
	typed := &late{Reader: strings.NewReader("typed"), timeout: timeout}
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), []string{"kv", "put", "k", "-", "-http-addr", server.URL, "-timeout", timeout.String()}, typed, &stdout, &stderr)
	require.Zero(t, code, stderr.String())
	e, err := store.Get(t.Context(), "k", backend.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, "typed", string(e.Value))
}
