package httpapi

import (
	"cmp"
	"net"
	"net/http"
	"strconv"

	"github.com/chord-plugin/chord-plugin/backend"
)

// agentSelf is /v1/agent/self. Chord is ours, the rest is what Consul's clients
// look at.
type agentSelf struct {
	Config agentConfig
	Member agentMember
	Stats  map[string]map[string]string
	Chord  *backend.Status
}

type agentConfig struct {
	Datacenter string
	NodeName   string
	NodeID     string
	Server     bool
	Version    string
}

// agentMember is a node as Consul shows it; the Tags hold what backend.Member has.
type agentMember struct {
	Name   string
	Addr   string
	Port   uint16
	Tags   map[string]string
	Status int
}

// The statuses of members in Consul, which has them from Serf.
const (
	serfNone   = 0
	serfAlive  = 1
	serfLeft   = 3
	serfFailed = 4
)

// datacenter is what Consul calls the only one there is.
const datacenter = "dc1"

func toAgentMember(m backend.Member) agentMember {
	a := agentMember{
		Name: m.Name,
		Tags: map[string]string{
			"id": m.ID, "role": m.Role, "state": m.State, "version": m.Version,
			"gossip_addr": m.GossipAddr, "mesh_addr": m.MeshAddr, "http_addr": m.HTTPAddr,
		},
	}
	a.Addr, a.Port = splitAddr(m.GossipAddr)
	switch m.State {
	case "alive", "suspect": // Serf counts a suspect as alive until it is sure.
		a.Status = serfAlive
	case "left":
		a.Status = serfLeft
	case "dead":
		a.Status = serfFailed
	default:
		a.Status = serfNone
	}
	return a
}

func (a agentMember) member() backend.Member {
	return backend.Member{
		Name: a.Name, ID: a.Tags["id"], Role: a.Tags["role"], State: a.Tags["state"], Version: a.Tags["version"],
		GossipAddr: a.Tags["gossip_addr"], MeshAddr: a.Tags["mesh_addr"], HTTPAddr: a.Tags["http_addr"],
	}
}

// splitAddr splits host:port; what is not of that form is all host.
func splitAddr(addr string) (host string, port uint16) {
	host, p, err := net.SplitHostPort(addr)
	if err != nil {
		return addr, 0
	}
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		return addr, 0
	}
	return host, uint16(n)
}

// leader answers with the address of this node, since every node can serve every
// key, or with "" while there is no quorum, as Consul does without a leader.
func (h *Handler) leader(w http.ResponseWriter, r *http.Request) error {
	if _, err := parseQuery(r); err != nil {
		return err
	}
	status, err := h.cfg.Admin.Status(r.Context())
	if err != nil {
		return err
	}
	addr := ""
	if status.Quorum {
		addr = status.MeshAddr
	}
	return writeJSON(w, r, http.StatusOK, addr)
}

// peers answers with the addresses of the ring's members, dead ones included.
func (h *Handler) peers(w http.ResponseWriter, r *http.Request) error {
	if _, err := parseQuery(r); err != nil {
		return err
	}
	ring, err := h.cfg.Admin.Ring(r.Context())
	if err != nil {
		return err
	}
	addrs := make([]string, len(ring.Members))
	for i, m := range ring.Members {
		addrs[i] = m.Addr
	}
	return writeJSON(w, r, http.StatusOK, addrs)
}

func (h *Handler) self(w http.ResponseWriter, r *http.Request) error {
	status, err := h.cfg.Admin.Status(r.Context())
	if err != nil {
		return err
	}
	name := cmp.Or(h.cfg.NodeName, status.Name)
	state := "alive"
	if status.State == "stopping" {
		state = "left"
	}
	stats := h.Stats()
	return writeJSON(w, r, http.StatusOK, agentSelf{
		Config: agentConfig{
			Datacenter: datacenter, NodeName: name, NodeID: status.ID,
			Server: status.Role == "member", Version: status.Version,
		},
		Member: toAgentMember(backend.Member{
			Name: name, ID: status.ID, Role: status.Role, State: state, Version: status.Version,
			GossipAddr: status.GossipAddr, MeshAddr: status.MeshAddr, HTTPAddr: status.HTTPAddr,
		}),
		Stats: map[string]map[string]string{"http": {
			"requests":  strconv.FormatUint(stats.Requests, 10),
			"refused":   strconv.FormatUint(stats.Refused, 10),
			"in_flight": strconv.Itoa(stats.InFlight),
			"limit":     strconv.Itoa(stats.Limit),

			"transactions": strconv.Itoa(stats.Transactions),
		}},
		Chord: status,
	})
}

func (h *Handler) members(w http.ResponseWriter, r *http.Request) error {
	members, err := h.cfg.Admin.Members(r.Context())
	if err != nil {
		return err
	}
	out := make([]agentMember, len(members))
	for i, m := range members {
		out[i] = toAgentMember(m)
	}
	return writeJSON(w, r, http.StatusOK, out)
}

// metrics passes on to Prometheus' handler. Consul's own JSON format of metrics
// is not served.
func (h *Handler) metrics(w http.ResponseWriter, r *http.Request) error {
	if h.cfg.Metrics == nil {
		http.NotFound(w, r)
		return nil
	}
	if format := r.URL.Query().Get("format"); format != "" && format != "prometheus" {
		return backend.Errorf(backend.Invalid, "", "Invalid format %q: ask with ?format=prometheus", format)
	}
	h.cfg.Metrics.ServeHTTP(w, r)
	return nil
}

// wireHealth is the answer of /v1/health.
type wireHealth struct {
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"`
	Quorum bool   `json:"quorum"`
}

// health answers 200 when this node serves and 503 otherwise.
func (h *Handler) health(w http.ResponseWriter, r *http.Request) error {
	status, err := h.cfg.Admin.Status(r.Context())
	if err != nil {
		return err
	}
	code := http.StatusOK
	if status.State != "serving" {
		code = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", "1")
	}
	return writeJSON(w, r, code, wireHealth{State: status.State, Reason: status.Reason, Quorum: status.Quorum})
}

func (h *Handler) ring(w http.ResponseWriter, r *http.Request) error {
	ring, err := h.cfg.Admin.Ring(r.Context())
	if err != nil {
		return err
	}
	return writeJSON(w, r, http.StatusOK, ring)
}

// locate answers GET /v1/ring/locate/KEY.
func (h *Handler) locate(key string) answer {
	return func(w http.ResponseWriter, r *http.Request) error {
		if key == "" {
			return errNoKey()
		}
		location, err := h.cfg.Admin.Locate(r.Context(), key)
		if err != nil {
			return asError(err, key, false)
		}
		return writeJSON(w, r, http.StatusOK, location)
	}
}
