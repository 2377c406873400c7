package mesh

import "sync/atomic"

// Stats are counters since New.
type Stats struct {
	FramesSent, FramesReceived uint64
	BytesSent, BytesReceived   uint64
	// Writes is the number of writes that carried the frames sent: with frames
	// that share writes it is smaller than FramesSent.
	Writes uint64
	// QueueFull counts frames refused because a peer's queue was full.
	QueueFull uint64
	// NoRoute counts sends and calls for which there was no route.
	NoRoute uint64
	// Busy counts calls of others refused because MaxHandlers ran.
	Busy uint64
	// RepliesDropped and LateResponses count responses that could not be sent,
	// and responses that nobody waited for any more.
	RepliesDropped, LateResponses uint64
	// SendsDropped counts sends that came but had no handler or no proper body.
	SendsDropped uint64
	// Relayed and RelayDropped count envelopes of others that went on, and that
	// did not. RelayReceived counts those for us, and Hops the connections they took.
	Relayed, RelayDropped, RelayReceived, Hops uint64
	// Connections and ConnectionsLost count handshakes done and connections ended.
	Connections, ConnectionsLost uint64
	// DialsFailed, Refused and AwaitingFull count failed dials, incoming
	// connections whose handshake failed, and those dropped at MaxAwaiting.
	DialsFailed, Refused, AwaitingFull uint64
	// PeersDropped counts peers left out because too many are known.
	PeersDropped uint64
}

// counters is Stats while they count.
type counters struct {
	framesSent, framesReceived, bytesSent, bytesReceived, writes     atomic.Uint64
	queueFull, noRoute, busy, repliesDropped, lateResponses          atomic.Uint64
	sendsDropped, relayed, relayDropped, relayReceived, hops         atomic.Uint64
	connections, connectionsLost, dialsFailed, refused, awaitingFull atomic.Uint64
	peersDropped                                                     atomic.Uint64
}

// Stats returns the counters.
func (m *Mesh) Stats() Stats {
	s := &m.stats
	return Stats{
		FramesSent: s.framesSent.Load(), FramesReceived: s.framesReceived.Load(),
		BytesSent: s.bytesSent.Load(), BytesReceived: s.bytesReceived.Load(), Writes: s.writes.Load(),
		QueueFull: s.queueFull.Load(), NoRoute: s.noRoute.Load(), Busy: s.busy.Load(),
		RepliesDropped: s.repliesDropped.Load(), LateResponses: s.lateResponses.Load(), SendsDropped: s.sendsDropped.Load(),
		Relayed: s.relayed.Load(), RelayDropped: s.relayDropped.Load(), RelayReceived: s.relayReceived.Load(), Hops: s.hops.Load(),
		Connections: s.connections.Load(), ConnectionsLost: s.connectionsLost.Load(),
		DialsFailed: s.dialsFailed.Load(), Refused: s.refused.Load(), AwaitingFull: s.awaitingFull.Load(),
		PeersDropped: s.peersDropped.Load(),
	}
}

// emit adds what was counted since the last time to the metrics sink, if there is
// one, and sets the gauge. Counting here and emitting now and then keeps the
// sink's locks off the path of a message. Called by keepAlive, and by Close when
// that has ended.
func (m *Mesh) emit() {
	sink := m.cfg.Metrics
	if sink == nil {
		return
	}
	now, last := m.Stats(), m.emitted
	for _, c := range []struct {
		name      string
		now, last uint64
	}{
		{"frames_sent", now.FramesSent, last.FramesSent}, {"frames_received", now.FramesReceived, last.FramesReceived},
		{"bytes_sent", now.BytesSent, last.BytesSent}, {"bytes_received", now.BytesReceived, last.BytesReceived},
		{"writes", now.Writes, last.Writes}, {"queue_full", now.QueueFull, last.QueueFull}, {"no_route", now.NoRoute, last.NoRoute},
		{"busy", now.Busy, last.Busy}, {"replies_dropped", now.RepliesDropped, last.RepliesDropped},
		{"late_responses", now.LateResponses, last.LateResponses}, {"sends_dropped", now.SendsDropped, last.SendsDropped},
		{"relayed", now.Relayed, last.Relayed}, {"relay_dropped", now.RelayDropped, last.RelayDropped},
		{"relay_received", now.RelayReceived, last.RelayReceived}, {"hops", now.Hops, last.Hops},
		{"connections", now.Connections, last.Connections}, {"connections_lost", now.ConnectionsLost, last.ConnectionsLost},
		{"dials_failed", now.DialsFailed, last.DialsFailed}, {"refused", now.Refused, last.Refused},
		{"awaiting_full", now.AwaitingFull, last.AwaitingFull}, {"peers_dropped", now.PeersDropped, last.PeersDropped},
	} {
		if c.now != c.last {
			sink.IncrCounter([]string{"mesh", c.name}, float32(c.now-c.last))
		}
	}
	sink.SetGauge([]string{"mesh", "connected"}, float32(len(m.table.Load().direct)))
	m.emitted = now
}
