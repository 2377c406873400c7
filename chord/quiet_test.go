package chord

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/chord/register"
)

// TestQuiet: new changes under the prefix wait, all else goes on, and writers have
// their turn however often they are asked to be quiet.
func TestQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q quiet
		held := func(ctx context.Context, key string, kind register.Kind) time.Duration {
			start := time.Now()
			c := register.Change{Kind: kind}
			if strings.HasPrefix(key, register.TxnPrefix) {
				c.Data = register.AppendStatus(nil, &register.Status{State: register.Pending, Keys: []string{"a/k", "z"}})
			}
			q.wait(ctx, nil, key, &c)
			return time.Since(start)
		}
		put := func() time.Duration { return held(t.Context(), "a/k", register.Put) }
		require.Zero(t, put())

		q.ask("a/", 30*time.Millisecond)
		require.Zero(t, held(t.Context(), "b/k", register.Put))
		require.Zero(t, held(t.Context(), "a/k", register.Resolve))
		require.Zero(t, held(t.Context(), "a/k", register.Place), "the transaction has begun")
		require.Zero(t, held(t.Context(), register.SessionPrefix+"s", register.Put))
		short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		require.Equal(t, 10*time.Millisecond, held(short, register.TxnPrefix+"t", register.Put))
		require.Equal(t, 20*time.Millisecond, put())

		q.ask("a/", time.Second) // too soon
		require.Zero(t, put())
		<-time.After(quietRest*30*time.Millisecond + 1)
		q.ask("", time.Minute)
		require.Zero(t, held(t.Context(), register.TxnPrefix+"t", register.Delete))
		q.ask("b/", 0) // somebody else's
		<-time.After(quietMost / 2)
		q.ask("", time.Minute)
		require.Equal(t, quietMost/2, put())

		<-time.After(quietRest*quietMost + 1)
		q.ask("a/", time.Second)
		time.AfterFunc(5*time.Millisecond, func() { q.ask("a/", 0) })
		require.Equal(t, 5*time.Millisecond, put())
		<-time.After(quietRest*5*time.Millisecond + 1)
		q.ask("a/", time.Millisecond)
		require.Equal(t, time.Millisecond, put())
	})
}
