package chord

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
	"github.com/chord-plugin/chord-plugin/chord/store"
)

// voter returns the i-th member of the tests; higher numbers have higher IDs.
func voter(i int) ring.Member {
	var b [48]byte
	b[0], b[47] = byte(i+1), 1
	id, err := ring.IDFromBytes(b[:])
	if err != nil {
		panic(err)
	}
	return ring.Member{ID: id, Name: fmt.Sprintf("v%d", i), Addr: "127.0.0.1:1", Tokens: 1}
}

// votersRing is a configuration of these members with a ring ID of its own.
func votersRing(is ...int) *ring.Configuration {
	c := &ring.Configuration{RingID: newRingID(), Epoch: 1, Level: 1}
	c.New.Replicas = 3
	for _, i := range is {
		c.New.Members = append(c.New.Members, voter(i))
	}
	return c
}

func ballotAt(t uint64, i int) register.Ballot {
	return register.Ballot{Time: t, Node: voter(i).ID.Node()}
}

// memoryVote keeps what it accepts in *kept.
func memoryVote(kept **founding) *vote {
	return &vote{save: func(f *founding) error { *kept = f; return nil }}
}

func TestVotePromises(t *testing.T) {
	var kept *founding
	v := memoryVote(&kept)
	abc, bcd := votersRing(0, 1, 2), votersRing(1, 2, 3)
	ask := func(c *ring.Configuration, b register.Ballot) promiseRing {
		return v.prepare(&prepareRing{Set: memberIDs(c), Ballot: b}, voter(1))
	}
	require.Error(t, v.accept(ballotAt(5, 0), abc), "nothing was promised")

	require.Empty(t, ask(abc, ballotAt(5, 0)).Refused)
	p := ask(abc, ballotAt(5, 0))
	require.NotEmpty(t, p.Refused, "a ballot is promised once")
	require.Equal(t, ballotAt(5, 0), p.Above)
	require.NotEmpty(t, ask(bcd, ballotAt(4, 3)).Refused, "a lower ballot")
	require.Error(t, v.accept(ballotAt(5, 0), bcd), "promised to the other set")
	require.Error(t, v.accept(ballotAt(6, 0), abc), "another ballot than was promised")

	// A higher ballot takes the promise over to its set: one set at a time.
	require.Empty(t, ask(bcd, ballotAt(6, 3)).Refused)
	require.Error(t, v.accept(ballotAt(5, 0), abc), "the promise has gone to another set")
	require.Nil(t, kept)
	require.NoError(t, v.accept(ballotAt(6, 3), bcd))
	require.Same(t, bcd, kept.Configuration)

	// From here on the member is bound.
	p = ask(abc, ballotAt(9, 0))
	require.Contains(t, p.Refused, "[v1 v2 v3]")
	p = ask(bcd, ballotAt(7, 2))
	require.Empty(t, p.Refused)
	require.Equal(t, ballotAt(6, 3), p.At)
	c, err := ring.DecodeConfiguration(p.Accepted)
	require.NoError(t, err)
	require.Equal(t, bcd, c)
	require.Equal(t, ballotAt(8, 1), v.ballot(3, voter(1).ID.Node()), "above what was promised")
	v.raise(ballotAt(11, 0))
	v.raise(ballotAt(10, 0))
	require.Equal(t, ballotAt(12, 1), v.ballot(3, voter(1).ID.Node()), "above what was met")
	require.Equal(t, ballotAt(30, 1), v.ballot(30, voter(1).ID.Node()), "at the clock")
}

func TestVoteIsNotGivenUnsaved(t *testing.T) {
	broken := errors.New("broken")
	v := &vote{save: func(*founding) error { return broken }}
	c := votersRing(0, 1)
	require.Empty(t, v.prepare(&prepareRing{Set: memberIDs(c), Ballot: ballotAt(1, 0)}, voter(0)).Refused)
	require.ErrorIs(t, v.accept(ballotAt(1, 0), c), broken)
	require.Nil(t, v.bound())
}

func TestVoteFree(t *testing.T) {
	var kept *founding
	v := memoryVote(&kept)
	abc, bcd, def := votersRing(0, 1, 2), votersRing(1, 2, 3), votersRing(3, 4, 5)
	require.True(t, v.free(def, nil), "bound to nothing")
	require.Empty(t, v.prepare(&prepareRing{Set: memberIDs(abc), Ballot: ballotAt(1, 0)}, voter(0)).Refused)
	require.True(t, v.free(def, nil), "promised only")
	require.NoError(t, v.accept(ballotAt(1, 0), abc))
	require.True(t, v.free(abc, nil))
	require.True(t, v.free(bcd, nil), "a ring that has two of its founders: there will be none of all three")
	require.False(t, v.free(def, nil), "the other ring may be there already")
	require.False(t, v.free(def, map[ring.ID]ring.RingID{voter(1).ID: abc.RingID, voter(4).ID: def.RingID}))
	require.True(t, v.free(def, map[ring.ID]ring.RingID{voter(1).ID: def.RingID}), "a founder went there without having accepted")
}

// TestVoteSurvives: what was accepted is there after a restart, promises are not.
func TestVoteSurvives(t *testing.T) {
	dir := t.TempDir()
	open := func() (*store.Store, *vote) {
		s, err := store.Open(store.Options{Dir: dir})
		require.NoError(t, err)
		v, err := loadVote(s)
		require.NoError(t, err)
		return s, v
	}
	s, v := open()
	first := votersRing(0, 1)
	set := memberIDs(first)
	require.Nil(t, v.bound())
	require.Empty(t, v.prepare(&prepareRing{Set: set, Ballot: ballotAt(7, 0)}, voter(0)).Refused)
	require.NoError(t, s.Close())

	s, v = open()
	require.Error(t, v.accept(ballotAt(7, 0), first), "the promise is forgotten, and with it the ballot")
	require.Empty(t, v.prepare(&prepareRing{Set: set, Ballot: ballotAt(3, 0)}, voter(0)).Refused)
	require.NoError(t, v.accept(ballotAt(3, 0), first))
	require.NoError(t, s.Close())

	s, v = open()
	require.Equal(t, first, v.bound())
	p := v.prepare(&prepareRing{Set: set, Ballot: ballotAt(3, 0)}, voter(0))
	require.Equal(t, ballotAt(3, 0), p.Above, "the accepted ballot is a promise")
	require.NotEmpty(t, v.prepare(&prepareRing{Set: memberIDs(votersRing(1, 2)), Ballot: ballotAt(9, 2)}, voter(0)).Refused)
	require.Equal(t, ballotAt(3, 0), v.prepare(&prepareRing{Set: set, Ballot: ballotAt(4, 0)}, voter(0)).At)
	require.NoError(t, s.Close())
}

// TestProposeBuildsOnAccepted: a proposer takes over the accepted configuration of
// the highest ballot.
func TestProposeBuildsOnAccepted(t *testing.T) {
	x, y := votersRing(0, 1), votersRing(0, 1)
	kept := make([]*founding, 2)
	votes := []*vote{memoryVote(&kept[0]), memoryVote(&kept[1])}
	for i, c := range []*ring.Configuration{y, x} { // the later one at the lower ID
		b := ballotAt(uint64(9-i), 0)
		require.Empty(t, votes[i].prepare(&prepareRing{Set: memberIDs(c), Ballot: b}, voter(i)).Refused)
		require.NoError(t, votes[i].accept(b, c))
	}
	var news []bool
	conf, err := propose([]founder{{voter(0).ID, "v0"}, {voter(1).ID, "v1"}}, ballotAt(20, 1), 3,
		func(f founder, req *prepareRing) (promiseRing, error) {
			i := int(f.name[1] - '0')
			return votes[i].prepare(req, voter(i)), nil
		},
		func(f founder, req *acceptRing) error {
			news = append(news, req.Chosen)
			c, err := ring.DecodeConfiguration(req.Configuration)
			require.NoError(t, err)
			if req.Chosen {
				return errors.New("the news is lost")
			}
			return votes[f.name[1]-'0'].accept(req.Ballot, c)
		})
	require.NoError(t, err)
	require.Equal(t, y, conf)
	require.Equal(t, []bool{false, false, true, true}, news)
	require.Equal(t, y, kept[1].Configuration)
}
