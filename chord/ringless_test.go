package chord

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
	"github.com/chord-plugin/chord-plugin/mesh"
)

// anyCalls are requests of every type that can be decoded.
func anyCalls() map[mesh.Type]any {
	conf := votersRing(1, 2, 3)
	fence := register.FenceEntry{Key: "lock"}
	return map[mesh.Type]any{
		callConfiguration: []byte{},
		callPrepareRing:   &prepareRing{Set: memberIDs(conf), Ballot: ballotAt(1, 0)},
		callAcceptRing:    &acceptRing{Ballot: ballotAt(1, 0), Configuration: conf.Encode()},
		callScan:          &scanRequest{Epoch: 1},
		callChanges:       &changesRequest{Epoch: 1},
		callInspect:       "key",
		callChain:         &chainRequest{},
		callChangeRing:    &changeRequest{},
		callProgress:      []byte{},
		callImpose:        &imposeRequest{Configuration: conf.Force([]ring.ID{conf.New.Members[0].ID}).Encode()},
		callPage:          &pageRequest{Epoch: 1, For: conf.New.Members[0].ID.Bytes()},
		callCells:         &cellsRequest{Epoch: 1, Keys: []string{"key"}},
		callLives:         []byte{},
		callDigest:        &digestRequest{Epoch: 1, For: conf.New.Members[0].ID.Bytes()},
		callCompared:      &comparedRequest{Epoch: 1, From: conf.New.Members[0].ID.Bytes()},
		callAdopt:         &adoptRequest{Epoch: 1},
		callTombstones:    &tombstonesRequest{Epoch: 1, Notes: []copyNote{{Key: "key"}}},
		callFeed:          &feedRequest{Begin: true},
		callHeld:          &heldRequest{Epoch: 1, Session: "session"},
		callInstallFence:  &installFenceRequest{Entry: register.AppendFenceEntry(nil, &fence)},
		callFenced:        &fencedRequest{Lock: "lock"},
		callSessions:      []byte{},
	}
}

// TestCallsWithoutARing asks a node that has no ring yet, and a client of one,
// whatever can be asked: both must live on. A member that has just been started
// again has none until the others have vouched for it, while they may call it.
func TestCallsWithoutARing(t *testing.T) {
	for _, tc := range []struct {
		name          string
		asked, asking Config
		ready         bool
	}{
		{"no ring", Config{Name: "a", Memory: true, Expect: 3}, Config{Name: "b", Memory: true, Expect: 3}, false},
		{"a client", Config{Name: "a", Role: RoleClient}, Config{Name: "b", Memory: true, Expect: 1}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			asking := openNode(t, tc.asking)
			tc.asked.Seeds = []string{asking.GossipAddr()}
			asked := openNode(t, tc.asked)
			if tc.ready {
				waitReady(t, asked)
			}
			eventually(t, func() bool { return asking.mesh.Connected(asked.id.Node()) }, "they do not meet")
			calls := anyCalls()
			for typ := callConfiguration; typ <= callSessions; typ++ {
				require.Contains(t, calls, typ)
				err := asking.mesh.Call(within(t, limit), asked.id.Node(), typ, calls[typ], nil)
				if err != nil {
					require.ErrorAs(t, err, new(*mesh.RemoteError), "call %d", typ)
				}
				if typ == callImpose && !tc.ready {
					var remote *mesh.RemoteError
					require.ErrorAs(t, err, &remote)
					require.Equal(t, codeNotReady, remote.Code, "%v", err)
				}
			}
			require.NoError(t, asked.Err())
			require.Equal(t, tc.ready, asked.ring.Load() != nil)
		})
	}
}
