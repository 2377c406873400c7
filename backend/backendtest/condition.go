package backendtest

import (
	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

var conditionCases = []testCase{
	{"IfAbsent creates a key once", func(c *check) {
		first, err := c.putIf("k", "first", backend.IfAbsent())
		require.NoError(c, err)
		_, err = c.putIf("k", "second", backend.IfAbsent())
		c.fails(err, backend.Conflict, c.key("k"))
		require.Equal(c, "first", string(c.get("k").Value))
		c.delete("k")
		again, err := c.putIf("k", "third", backend.IfAbsent())
		require.NoError(c, err)
		require.Greater(c, again, first)
		require.Equal(c, "third", string(c.get("k").Value))
	}},
	{"Put IfIndex replaces that version only", func(c *check) {
		first := c.put("k", "first")
		second, err := c.putIf("k", "second", backend.IfIndex(first))
		require.NoError(c, err)
		require.Greater(c, second, first)
		for _, wrong := range []uint64{first, second + 1, 0, 1<<53 - 1} {
			_, err = c.putIf("k", "wrong", backend.IfIndex(wrong))
			c.fails(err, backend.Conflict, c.key("k"))
		}
		require.Equal(c, "second", string(c.get("k").Value))
		_, err = c.putIf("none", "wrong", backend.IfIndex(second))
		c.fails(err, backend.Conflict, c.key("none"))
		c.missing("none")
	}},
	{"Delete IfIndex removes that version only", func(c *check) {
		first := c.put("k", "first")
		second := c.put("k", "second")
		for _, wrong := range []uint64{first, second + 1, 0} {
			c.fails(c.deleteIf("k", backend.IfIndex(wrong)), backend.Conflict, c.key("k"))
		}
		require.Equal(c, "second", string(c.get("k").Value))
		require.NoError(c, c.deleteIf("k", backend.IfIndex(second)))
		c.missing("k")
	}},
	{"Delete IfIndex of a missing key conflicts unless it asks for 0", func(c *check) {
		require.NoError(c, c.deleteIf("none", backend.IfAbsent()))
		c.fails(c.deleteIf("none", backend.IfIndex(1)), backend.Conflict, c.key("none"))
		index := c.put("k", "v")
		c.delete("k")
		c.fails(c.deleteIf("k", backend.IfIndex(index)), backend.Conflict, c.key("k"))
		require.NoError(c, c.deleteIf("k", backend.IfIndex(0)))
	}},
	{"a condition does not hold for a key that was made again", func(c *check) {
		index := c.put("k", "v")
		c.delete("k")
		c.put("k", "v")
		_, err := c.putIf("k", "wrong", backend.IfIndex(index))
		c.fails(err, backend.Conflict, c.key("k"))
		c.fails(c.deleteIf("k", backend.IfIndex(index)), backend.Conflict, c.key("k"))
		require.Equal(c, "v", string(c.get("k").Value))
	}},
	{"a conflict changes nothing", func(c *check) {
		index, err := c.b.Put(c.ctx, c.key("k"), []byte("v"), backend.PutOptions{Flags: 3})
		require.NoError(c, err)
		before := c.get("k")
		_, err = c.b.Put(c.ctx, c.key("k"), []byte("wrong"), backend.PutOptions{Flags: 4, If: backend.IfIndex(index + 1)})
		c.fails(err, backend.Conflict, c.key("k"))
		require.Equal(c, before, c.get("k"))
		c.fails(c.deleteIf("k", backend.IfIndex(index+1)), backend.Conflict, c.key("k"))
		require.Equal(c, before, c.get("k"))
		_, err = c.putIf("k", "right", backend.IfIndex(index))
		require.NoError(c, err, "the version was still there")
	}},
}

func (c *check) putIf(name, value string, cond backend.Condition) (uint64, error) {
	return c.b.Put(c.ctx, c.key(name), []byte(value), backend.PutOptions{If: cond})
}

func (c *check) deleteIf(name string, cond backend.Condition) error {
	return c.b.Delete(c.ctx, c.key(name), backend.DeleteOptions{If: cond})
}
