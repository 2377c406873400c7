package agent

import (
	"fmt"
	"io"
	"net/http"
	"time"

	metrics "github.com/armon/go-metrics"
	sink "github.com/armon/go-metrics/prometheus"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	// dumpInterval and dumpRetain are what SIGUSR1 shows: the last minute, in
	// steps of ten seconds.
	dumpInterval = 10 * time.Second
	dumpRetain   = time.Minute
	// metricExpiry is how long Prometheus is shown a number that does not change
	// any more, such as one of a peer that is gone.
	metricExpiry = 10 * time.Minute
)

// Measures is where a node counts what it does.
type Measures struct {
	all  *metrics.Metrics
	dump *metrics.InmemSink
	// handler shows them in Prometheus' format.
	handler http.Handler
}

// NewMeasures makes the process's global metrics, which memberlist writes to by
// itself; in a host's process, metrics beside the global ones, which are the host's.
func NewMeasures(place Place) (*Measures, error) {
	registry := prometheus.NewRegistry()
	for _, c := range []prometheus.Collector{collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})} {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
	}
	shown, err := sink.NewPrometheusSinkFrom(sink.PrometheusOpts{Expiration: metricExpiry, Registerer: registry})
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	m := &Measures{
		dump:    metrics.NewInmemSink(dumpInterval, dumpRetain),
		handler: promhttp.HandlerFor(registry, promhttp.HandlerOpts{}),
	}
	conf := metrics.DefaultConfig("chord")
	conf.EnableHostname = false
	conf.EnableRuntimeMetrics = false // the Go collector has them
	begin := metrics.NewGlobal
	if place == Embedded {
		begin = metrics.New
	}
	if m.all, err = begin(conf, metrics.FanoutSink{m.dump, shown}); err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	return m, nil
}

// Dump prints what was counted in the last minute at each SIGUSR1, until stop.
func (m *Measures) Dump(w io.Writer) (stop func()) {
	return metrics.NewInmemSignal(m.dump, metrics.DefaultSignal, w).Stop
}
