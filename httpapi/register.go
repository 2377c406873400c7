package httpapi

import (
	"encoding/json"
	"net/http"

	"github.com/chord-plugin/chord-plugin/backend"
)

// ignored takes what a program registers itself with at a Consul agent and forgets
// it: there is no catalog of services here. Vault registers itself unless it is told
// not to, and repeats it for ever when it can not.
func (h *Handler) ignored(w http.ResponseWriter, r *http.Request) error {
	if _, err := parseQuery(r); err != nil {
		return err
	}
	var anything map[string]json.RawMessage
	if err := (form{limit: maxDocument, lenient: true, optional: true}).read(w, r, &anything); err != nil {
		return err
	}
	writeBody(w, http.StatusOK, nil)
	return nil
}

// ignoredWithID are the endpoints that do so for a service or check whose ID ends
// the path.
var ignoredWithID = map[string]func(*Handler, string) answer{
	http.MethodPut: func(h *Handler, id string) answer {
		return func(w http.ResponseWriter, r *http.Request) error {
			if id == "" {
				return backend.Errorf(backend.Invalid, "", "Missing ID")
			}
			return h.ignored(w, r)
		}
	},
}
