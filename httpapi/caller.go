package httpapi

import (
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/chord-plugin/chord-plugin/backend"
)

// checkCaller refuses what the page of a strange site makes a browser send to a
// node on loopback; Pop would delete a key for it. Such a page has another origin,
// or it has led its own name here, which nobody else calls this node.
func (h *Handler) checkCaller(r *http.Request) error {
	if !h.knows(r.Host) {
		return backend.Errorf(backend.Unauthorized, "", "refused a request for the host %q: this node is called by IP address, localhost or %s; add the name to http_hosts if it is this node's", r.Host, strings.Join(h.cfg.Hosts, ", "))
	}
	if err := h.origin.Check(r); err != nil {
		return backend.Errorf(backend.Unauthorized, "", "refused a request from the pages of another site: %w", err)
	}
	return nil
}

// knows reports whether a Host header names this node. Nobody can lead an address,
// or localhost, elsewhere; and every browser sends a name.
func (h *Handler) knows(host string) bool {
	name := strings.ToLower(strings.TrimSuffix((&url.URL{Host: host}).Hostname(), "."))
	if len(h.cfg.Hosts) == 0 || name == "" || name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	_, err := netip.ParseAddr(name)
	return err == nil || slices.ContainsFunc(h.cfg.Hosts, func(own string) bool { return strings.EqualFold(own, name) })
}
