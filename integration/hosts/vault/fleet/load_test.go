package fleet

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// kv answers as a kv store of version 2 does, and has a fault.
type kv struct {
	mu       sync.Mutex
	versions map[string][]json.RawMessage
	// forgets is the path whose writes are acknowledged and forgotten; back is how many
	// versions behind the newest reads of counters are.
	forgets string
	back    int
}

func (k *kv) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	path := strings.TrimPrefix(r.URL.Path, "/v1/"+KV+"/data/")
	had := k.versions[path]
	if r.Method == http.MethodPost {
		var body struct {
			Data    json.RawMessage
			Options struct{ CAS *int }
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.Options.CAS != nil && *body.Options.CAS != len(had) {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if path != k.forgets {
			k.versions[path] = append(had, body.Data)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{"version": len(had) + 1}}) // the client would notice
		return
	}
	at := len(had)
	if strings.HasSuffix(path, "counter") {
		at = max(at-k.back, min(at, 1))
	}
	if at == 0 {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{"data": had[at-1], "metadata": map[string]any{"version": at}}})
}

// The load finds what a store forgets and what it answers too late, and nothing else.
func TestLoadJudges(t *testing.T) {
	for name, k := range map[string]*kv{
		"right": {}, "forgets a secret": {forgets: "load/0/3"}, "forgets the counter": {forgets: "load/0/counter"}, "stale": {back: 1},
	} {
		t.Run(name, func(t *testing.T) {
			k.versions = map[string][]json.RawMessage{}
			server := httptest.NewServer(k)
			defer server.Close()
			f := &Fleet{cfg: Config{Patience: DefaultPatience}, Servers: []*Server{{Addr: server.Listener.Addr().String()}}}
			l := f.StartLoad(t.Context(), "load", 1)
			require.NoError(t, l.WaitAcknowledged(t.Context(), 20))
			r := l.Stop()
			lost, err := f.Lost(t.Context(), r)
			require.NoError(t, err)
			require.GreaterOrEqual(t, r.Acknowledged, 20)
			switch name {
			case "right":
				require.Zero(t, lost)
				require.NoError(t, r.Check())
			case "forgets a secret":
				require.Equal(t, 1, lost)
				require.NoError(t, r.Check())
			default:
				require.Equal(t, 1, lost, "the counter")
				require.ErrorContains(t, r.Check(), "counter")
			}
		})
	}
	require.ErrorContains(t, (&Report{}).Check(), "no write was acknowledged")
}
