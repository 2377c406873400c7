package backendtest

import (
	"fmt"
	"strconv"
	"sync/atomic"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

var concurrentCases = []testCase{
	{"a counter under IfIndex loses no increment", func(c *check) {
		const counters, increments = 8, 20
		key := c.key("counter")
		c.put("counter", "0")
		c.parallel(counters, func(int) error {
			for done := 0; done < increments; {
				switch err := c.increment(key); {
				case err == nil:
					done++
				case !again(err):
					return err
				case c.ctx.Err() != nil:
					return fmt.Errorf("%d of %d increments in time: %w", done, increments, err)
				}
			}
			return nil
		})
		require.Equal(c, strconv.Itoa(counters*increments), string(c.get("counter").Value))
	}},
	{"of many creators under IfAbsent exactly one wins", func(c *check) {
		for round := range 10 {
			name := fmt.Sprint("k", round)
			var winner atomic.Value
			var won atomic.Int32
			c.parallel(8, func(w int) error {
				for {
					value := strconv.Itoa(w)
					_, err := c.putIf(name, value, backend.IfAbsent())
					switch backend.CodeOf(err) {
					case 0:
						won.Add(1)
						winner.Store(value)
						return nil
					case backend.Conflict:
						return nil
					case backend.NotReady:
						if c.ctx.Err() == nil {
							continue
						}
					}
					return err
				}
			})
			require.Equal(c, int32(1), won.Load(), "creators that were told that they won")
			require.Equal(c, winner.Load(), string(c.get(name).Value))
		}
	}},
	{"histories are linearizable", linearizable},
	{"random changes agree with a map", agreesWithMap},
}

// increment adds one to the number at key unless somebody changes it meanwhile.
func (c *check) increment(key string) error {
	e, err := c.b.Get(c.ctx, key, backend.GetOptions{})
	if err != nil {
		return err
	}
	if e == nil {
		return fmt.Errorf("the counter %q is gone", key)
	}
	n, err := strconv.Atoi(string(e.Value))
	if err != nil {
		return err
	}
	_, err = c.b.Put(c.ctx, key, []byte(strconv.Itoa(n+1)), backend.PutOptions{If: backend.IfIndex(e.ModifyIndex)})
	return err
}
