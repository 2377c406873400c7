package plugin_test

import (
	"testing"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/backendtest"
)

// The whole contract holds through a real plugin process.
func TestConformance(t *testing.T) {
	backendtest.RunWith(t, func(t *testing.T) backend.Backend {
		return open(t, nil)
	}, backendtest.Options{Must: backend.AllCapabilities, Patience: 2 * time.Second})
}
