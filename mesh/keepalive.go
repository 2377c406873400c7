package mesh

import (
	"fmt"
	"time"
)

// keepAlive pings all peers, closes the connections of those that are silent or
// take nothing, and emits the metrics, once a KeepAlive.
func (m *Mesh) keepAlive() {
	defer m.wg.Done()
	tick := time.NewTicker(m.cfg.KeepAlive)
	defer tick.Stop()
	for {
		select {
		case <-m.ctx.Done():
			return
		case <-tick.C:
		}
		now := m.now()
		for _, c := range m.table.Load().direct {
			c.keepAlive(now, m.cfg.KeepAliveTimeout)
		}
		m.emit()
	}
}

func (c *Conn) keepAlive(now, timeout time.Duration) {
	if silent := now - time.Duration(c.lastRead.Load()); silent >= timeout {
		c.close(fmt.Errorf("nothing heard for %s", silent.Round(time.Millisecond)))
		return
	}
	if began := time.Duration(c.writing.Load()); began != 0 && now-began >= timeout {
		c.close(fmt.Errorf("the peer has taken nothing for %s", (now - began).Round(time.Millisecond)))
		return
	}
	// A full queue needs no ping: bytes are on their way.
	_ = c.enqueue(&outgoing{kind: kindPing, request: uint64(now)})
}

// pong notes the answer to the ping of that time.
func (c *Conn) pong(sent time.Duration) {
	sample := c.m.now() - sent
	if sent <= 0 || sample <= 0 {
		return // not our ping
	}
	rtt := time.Duration(c.rtt.Load())
	if rtt == 0 {
		rtt = sample
	} else {
		rtt += (sample - rtt) / 8 // as TCP does (Jacobson 1988)
	}
	c.rtt.Store(int64(rtt))
}
