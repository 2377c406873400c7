package httpapi

import (
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/chord-plugin/chord-plugin/backend"
)

// keyed are the endpoints whose path ends with a key, or with a name. They are
// matched before the ServeMux, which would clean the key and redirect.
var keyed = []struct {
	prefix  string
	methods map[string]func(*Handler, string) answer
}{
	{"/v1/kv/", map[string]func(*Handler, string) answer{
		http.MethodGet: (*Handler).kvGet, http.MethodPut: (*Handler).kvPut, http.MethodDelete: (*Handler).kvDelete,
	}},
	{"/v1/ring/locate/", map[string]func(*Handler, string) answer{http.MethodGet: (*Handler).locate}},
	{"/v1/chord/pop/", map[string]func(*Handler, string) answer{http.MethodPost: (*Handler).pop}},
	{"/v1/agent/force-leave/", map[string]func(*Handler, string) answer{http.MethodPut: (*Handler).forceLeave}},
	{"/v1/session/renew/", map[string]func(*Handler, string) answer{http.MethodPut: (*Handler).renewSession}},
	{"/v1/session/destroy/", map[string]func(*Handler, string) answer{http.MethodPut: (*Handler).destroySession}},
	{"/v1/session/info/", map[string]func(*Handler, string) answer{http.MethodGet: (*Handler).sessionInfo}},
	{"/v1/session/node/", map[string]func(*Handler, string) answer{http.MethodGet: (*Handler).nodeSessions}},
	{"/v1/agent/service/deregister/", ignoredWithID},
	{"/v1/agent/check/deregister/", ignoredWithID},
	{"/v1/agent/check/update/", ignoredWithID},
}

func (h *Handler) routes() *http.ServeMux {
	mux := http.NewServeMux()
	for pattern, a := range map[string]answer{
		"GET /v1/status/leader":  h.leader,
		"GET /v1/status/peers":   h.peers,
		"GET /v1/agent/self":     h.self,
		"GET /v1/agent/members":  h.members,
		"GET /v1/agent/metrics":  h.metrics,
		"GET /v1/health":         h.health,
		"GET /v1/ring":           h.ring,
		"POST /v1/ring/remove":   h.remove,
		"POST /v1/ring/verify":   h.verify,
		"GET /v1/chord/list":     h.list,
		"GET /v1/chord/watch":    h.watch,
		"GET /v1/chord/limits":   h.showLimits,
		"POST /v1/chord/popitem": h.popItem,

		"PUT /v1/txn":            h.needs(backend.CanTransact, h.txn),
		"PUT /v1/session/create": h.needs(backend.CanKeepSessions, h.createSession),

		"PUT /v1/agent/service/register": h.ignored,
		"PUT /v1/agent/check/register":   h.ignored,

		"POST /v1/chord/txn":         h.needs(backend.CanTransact, h.ownTxn),
		"POST /v1/chord/fence":       h.needs(backend.CanFence, h.fence),
		"POST /v1/chord/tx/begin":    h.needs(backend.CanTransact, h.beginTx),
		"POST /v1/chord/tx/get":      h.inTx(false, h.txGet),
		"POST /v1/chord/tx/list":     h.inTx(false, h.txList),
		"POST /v1/chord/tx/put":      h.inTx(false, h.txPut),
		"POST /v1/chord/tx/delete":   h.inTx(false, h.txDelete),
		"POST /v1/chord/tx/commit":   h.inTx(true, h.txCommit),
		"POST /v1/chord/tx/rollback": h.inTx(true, h.txRollback),
	} {
		mux.Handle(pattern, h.serve(h.cfg.RequestTimeout, a))
	}
	list := h.needs(backend.CanKeepSessions, h.listSessions)
	mux.HandleFunc("GET /v1/session/list", func(w http.ResponseWriter, r *http.Request) {
		h.serve(h.usual(r), list).ServeHTTP(w, r)
	})
	// Leaving takes as long as there is data to give away, and Consul's clients
	// do not say how long they will wait.
	mux.Handle("PUT /v1/agent/leave", h.serve(h.cfg.MaxTimeout, h.leave))
	return mux
}

// dispatch finds the endpoint of r.
func (h *Handler) dispatch(w http.ResponseWriter, r *http.Request) {
	for _, e := range keyed {
		key, ok := keyOf(r.URL.Path, e.prefix)
		if !ok {
			continue
		}
		method := r.Method
		if method == http.MethodHead {
			method = http.MethodGet
		}
		if answerFor, ok := e.methods[method]; ok {
			h.serve(h.usual(r), answerFor(h, key)).ServeHTTP(w, r)
			return
		}
		allow := make([]string, 0, len(e.methods)+1)
		for m := range e.methods {
			allow = append(allow, m)
			if m == http.MethodGet {
				allow = append(allow, http.MethodHead)
			}
		}
		slices.Sort(allow)
		w.Header().Set("Allow", strings.Join(allow, ", "))
		http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
		return
	}
	// The ServeMux would redirect "//v1/kv/a//b" to "/v1/kv/a/b", another key.
	if path.Clean(r.URL.Path) != r.URL.Path {
		http.NotFound(w, r)
		return
	}
	h.mux.ServeHTTP(w, r)
}

// keyOf returns the key in a decoded path, byte for byte. The endpoint without
// its last slash is the endpoint with the empty key.
func keyOf(urlPath, prefix string) (key string, ok bool) {
	if urlPath == strings.TrimSuffix(prefix, "/") {
		return "", true
	}
	return strings.CutPrefix(urlPath, prefix)
}
