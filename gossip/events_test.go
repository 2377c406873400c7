package gossip

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	armon "github.com/armon/go-metrics"
	"github.com/hashicorp/go-hclog"
	metrics "github.com/hashicorp/go-metrics/compat"
	"github.com/stretchr/testify/require"
)

func TestEventsFoldWhileTheListenerIsSlow(t *testing.T) {
	heard, hold := make(chan Node), make(chan struct{})
	q := newEvents(func(n Node) { heard <- n; <-hold }, nil)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { q.run(ctx) })
	a, b := testNode("a", 1), testNode("b", 1)
	a.State = Alive
	q.add(a)
	require.Equal(t, Alive, (<-heard).State)
	// The listener is busy.
	for _, s := range []State{Suspect, Alive, Suspect, Dead} {
		a.State, b.State = s, s
		q.add(a)
		q.add(b)
	}
	hold <- struct{}{}
	n := <-heard
	require.Equal(t, "a", n.Name)
	require.Equal(t, Dead, n.State)
	hold <- struct{}{}
	require.Equal(t, "b", (<-heard).Name)
	hold <- struct{}{}
	cancel()
	wg.Wait()
	require.Empty(t, q.pending)
	require.Empty(t, q.order)
}

func TestEventsAreBounded(t *testing.T) {
	q := newEvents(func(Node) {}, nil)
	for i := range maxPending + 5 {
		q.add(testNode(fmt.Sprint(i), 1))
	}
	require.Len(t, q.order, maxPending)
	n := testNode("0", 1)
	n.State = Dead
	q.add(n)
	first, ok := q.next()
	require.True(t, ok)
	require.Equal(t, Dead, first.State, "one that waits is still brought up to date")
}

func TestMetricsReachArmon(t *testing.T) {
	sink := armon.NewInmemSink(time.Minute, time.Hour)
	conf := armon.DefaultConfig("test")
	conf.EnableHostname, conf.EnableRuntimeMetrics = false, false
	_, err := armon.NewGlobal(conf, sink)
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := armon.NewGlobal(conf, &armon.BlackholeSink{})
		require.NoError(t, err)
	})
	c := testConfig("a")
	c.MetricLabels = []metrics.Label{{Name: "node", Value: "a"}}
	a := start(t, inRing(ringA, c))
	b := start(t, inRing(ringA, testConfig("b", a)))
	other := start(t, inRing(ringB, testConfig("other")))
	meet(t, 10*time.Second, a, b)
	_, err = a.Join([]string{other.Self().GossipAddr})
	require.ErrorIs(t, err, ErrRefused)
	for _, want := range []string{"test.memberlist.udp.sent;node=a", "test.memberlist.tcp.accept;node=a", "test.gossip.refused.ring;node=a"} {
		eventually(t, 5*time.Second, want, func() bool {
			for _, i := range sink.Data() {
				if v, ok := i.Counters[want]; ok && v.Count > 0 {
					return true
				}
			}
			return false
		})
	}
}

func TestListLog(t *testing.T) {
	var b bytes.Buffer
	l := listLog{hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: &b, DisableTime: true})}
	for line, want := range map[string]string{
		"[ERR] memberlist: Conflicting address\n": "[ERROR] Conflicting address\n",
		"[ERROR] memberlist: x":                   "[ERROR] x\n",
		"[WARN] memberlist: x":                    "[WARN]  x\n",
		"[DEBUG] memberlist: x":                   "[DEBUG] x\n",
		"[INFO] memberlist: x":                    "[INFO]  x\n",
		"no level":                                "[INFO]  no level\n",
		"[odd] x":                                 "[INFO]  [odd] x\n",
		"[WARN] memberlist: ignoring alive message for 'x'": "[TRACE] ignoring alive message for 'x'\n",
	} {
		b.Reset()
		n, err := l.Write([]byte(line))
		require.NoError(t, err)
		require.Equal(t, len(line), n)
		require.Equal(t, want, b.String())
	}
}

func TestLimiter(t *testing.T) {
	var l limiter
	require.True(t, l.allow("a", testTime))
	require.False(t, l.allow("a", testTime.Add(limitInterval-1)))
	require.True(t, l.allow("b", testTime))
	require.True(t, l.allow("a", testTime.Add(limitInterval)))
	for i := range limitKeys * 2 {
		l.allow(fmt.Sprint(i), testTime.Add(limitInterval))
	}
	require.Len(t, l.last, limitKeys)
	require.False(t, l.allow("one more", testTime.Add(limitInterval)))
	require.True(t, l.allow("one more", testTime.Add(2*limitInterval)), "when the old ones have run out")
	require.Len(t, l.last, 1)
}

func TestListNameDiffersByBoot(t *testing.T) {
	a, b := testNode("a", 1), testNode("a", 2)
	require.NotEqual(t, a.listName(), b.listName())
	require.True(t, strings.HasPrefix(a.listName(), a.ID.Node().String()))
}
