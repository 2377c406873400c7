package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
)

const (
	// sessionLook is how often a blocking query for sessions looks, since nothing
	// tells of a session's end, and maxSessionWait how long it waits at most. It is
	// short because a session may have ended between two queries.
	sessionLook    = time.Second
	maxSessionWait = 10 * time.Second
)

// wireSession is a session as Consul writes it. No check ends a session here, so
// both lists are null. Data is ours.
type wireSession struct {
	ID            string
	Name          string
	Node          string
	LockDelay     time.Duration
	Behavior      backend.Behavior
	TTL           string
	NodeChecks    []string
	ServiceChecks []string
	Data          []byte `json:",omitempty"`
	CreateIndex   uint64
	ModifyIndex   uint64
}

// toWireSession notes the session's index too.
func (h *Handler) toWireSession(s *backend.Session) wireSession {
	h.seen(s.CreateIndex)
	raise(&h.newestSession, s.CreateIndex)
	w := wireSession{
		ID: s.ID, Name: s.Name, LockDelay: s.LockDelay, Behavior: s.Behavior,
		Data: s.Data, CreateIndex: s.CreateIndex, ModifyIndex: s.CreateIndex,
	}
	if s.TTL > 0 {
		w.TTL = s.TTL.String()
	}
	if sent, ok := readConsulData(s.Data); ok {
		w.Node, w.TTL = sent.Node, sent.TTL
	}
	return w
}

func (h *Handler) sessions() backend.Sessions { return h.cfg.Backend.(backend.Sessions) }

// named is an answer about the session whose ID ends the path.
func (h *Handler) named(id string, a answer) answer {
	return h.needs(backend.CanKeepSessions, func(w http.ResponseWriter, r *http.Request) error {
		if id == "" {
			return backend.Errorf(backend.Invalid, "", "Missing session ID")
		}
		return a(w, r)
	})
}

// wireCreated is the answer of /v1/session/create.
type wireCreated struct{ ID string }

// createSession answers PUT /v1/session/create with the ID, and its index in the
// header.
func (h *Handler) createSession(w http.ResponseWriter, r *http.Request) error {
	if _, err := parseQuery(r); err != nil {
		return err
	}
	var in sessionInput
	if err := (form{limit: maxDocument, lenient: true, optional: true}).read(w, r, &in); err != nil {
		return err
	}
	if in.Node == "" {
		node, err := h.nodeName(r.Context())
		if err != nil {
			return err
		}
		in.Node = node
	}
	opts, err := in.options()
	if err != nil {
		return err
	}
	made, err := h.sessions().CreateSession(r.Context(), opts)
	if err != nil {
		return asError(err, "", true)
	}
	h.setChanged(w, made.CreateIndex)
	raise(&h.newestSession, made.CreateIndex)
	return writeJSON(w, r, http.StatusOK, wireCreated{ID: made.ID})
}

// renewSession answers PUT /v1/session/renew/ID with the session, or 404.
func (h *Handler) renewSession(id string) answer {
	return h.named(id, func(w http.ResponseWriter, r *http.Request) error {
		if _, err := parseQuery(r); err != nil {
			return err
		}
		renewed, err := h.sessions().RenewSession(r.Context(), id)
		if backend.CodeOf(err) == backend.SessionInvalid {
			gone := backend.Errorf(backend.SessionInvalid, "", "Session id '%s' not found: it has ended or never was; create a new one", id)
			return &statusError{http.StatusNotFound, gone}
		}
		if err != nil {
			return asError(err, "", true)
		}
		return writeJSON(w, r, http.StatusOK, []wireSession{h.toWireSession(renewed)})
	})
}

// destroySession answers PUT /v1/session/destroy/ID with true.
func (h *Handler) destroySession(id string) answer {
	return h.named(id, func(w http.ResponseWriter, r *http.Request) error {
		if _, err := parseQuery(r); err != nil {
			return err
		}
		return writeDone(w, r, "", h.sessions().DestroySession(r.Context(), id))
	})
}

// sessionInfo answers GET /v1/session/info/ID with an array of it, or an empty one.
func (h *Handler) sessionInfo(id string) answer {
	return h.named(id, func(w http.ResponseWriter, r *http.Request) error {
		return h.blockedSessions(w, r, func(ctx context.Context) ([]wireSession, uint64, error) {
			newest := h.newestSession.Load() // before the read, as in listed
			found, err := h.sessions().Session(ctx, id)
			if err != nil || found == nil {
				return []wireSession{}, newest, err
			}
			return []wireSession{h.toWireSession(found)}, found.CreateIndex, nil
		})
	})
}

// listSessions answers GET /v1/session/list with all sessions.
func (h *Handler) listSessions(w http.ResponseWriter, r *http.Request) error {
	return h.listed(w, r, func(wireSession) bool { return true })
}

// nodeSessions answers GET /v1/session/node/NAME with the sessions made for a node.
func (h *Handler) nodeSessions(name string) answer {
	return h.needs(backend.CanKeepSessions, func(w http.ResponseWriter, r *http.Request) error {
		if name == "" {
			return backend.Errorf(backend.Invalid, "", "Missing node name")
		}
		return h.listed(w, r, func(s wireSession) bool { return s.Node == name })
	})
}

// listed answers with the sessions that are wanted.
func (h *Handler) listed(w http.ResponseWriter, r *http.Request, wanted func(wireSession) bool) error {
	return h.blockedSessions(w, r, func(ctx context.Context) ([]wireSession, uint64, error) {
		// Before the read: who is told an index has seen the session that it is of.
		index := h.newestSession.Load()
		all, err := h.sessions().Sessions(ctx)
		out := make([]wireSession, 0, len(all))
		for _, s := range all {
			index = max(index, s.CreateIndex)
			if one := h.toWireSession(s); wanted(one) {
				out = append(out, one)
			}
		}
		return out, index, err
	})
}

// blockedSessions answers with what read finds, for a blocking query once that has
// a higher index or is another than at first, or the time is over. As the end of a
// session has no index, and may have come before, the answer never has the index that
// the caller has: Consul's clients would throw it away.
func (h *Handler) blockedSessions(w http.ResponseWriter, r *http.Request, read func(ctx context.Context) ([]wireSession, uint64, error)) error {
	q, err := parseQuery(r)
	if err != nil {
		return err
	}
	ctx := r.Context()
	var sessions []wireSession
	var index uint64
	look := func(ctx context.Context) (_ found, err error) {
		sessions, index, err = read(ctx)
		return found{}, err
	}
	if q.index == 0 {
		_, err = look(ctx)
	} else if _, err = h.reread(ctx, look); err == nil && index <= q.index {
		before := sessions
		over := time.NewTimer(min(waitOf(q.Values), maxSessionWait))
		defer over.Stop()
		again := time.NewTicker(sessionLook)
		defer again.Stop()
		for waiting := true; waiting && err == nil && index <= q.index && reflect.DeepEqual(sessions, before); {
			select {
			case <-again.C:
				_, err = h.reread(ctx, look)
			case <-over.C:
				waiting = false
			case <-ctx.Done():
				err = ctx.Err()
			}
		}
		if index == q.index {
			index = below(index)
		}
	}
	if err != nil {
		return asError(err, "", false)
	}
	h.setMeta(w, index, true)
	return writeJSON(w, r, http.StatusOK, sessions)
}

// nodeName is what this node is called.
func (h *Handler) nodeName(ctx context.Context) (string, error) {
	if h.cfg.NodeName != "" {
		return h.cfg.NodeName, nil
	}
	status, err := h.cfg.Admin.Status(ctx)
	if err != nil {
		return "", fmt.Errorf("ask for the name of this node: %w", err)
	}
	return status.Name, nil
}
