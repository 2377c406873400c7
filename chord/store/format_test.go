package store

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/chord/register"
)

// TestFormatIsStable pins what is on the disks of others.
func TestFormatIsStable(t *testing.T) {
	f := format{Product: product, Format: formatVersion, Shards: 16, State: stateReady}
	require.Equal(t, `{"product":"chord-plugin data","format":1,"shards":16,"state":"ready"}`+"\n", string(f.encode()))
	require.Equal(t, []byte("ckey"), appendCellKey(nil, "key"))
	require.Equal(t, []byte("r\x00\x00\x00\x00\x00\x00\x01\x02"), configurationKey(258))
	require.Equal(t, []byte("m\x01\x02"), markKey(258))
	require.Equal(t, []byte("\x01\xac\x02"), encodeMark(register.Mark{HighWater: 300}))
	id := Identity{Node: bytes.Repeat([]byte{5}, 32), Boot: 258, Format: 1}
	require.Equal(t, append(append([]byte{1}, id.Node...), 0, 0, 0, 0, 0, 0, 1, 2), encodeIdentity(id))
	got, err := decodeIdentity(encodeIdentity(id))
	require.NoError(t, err)
	require.Equal(t, id, got)
	require.Equal(t, 1, reflect.TypeFor[register.Mark]().NumField(), "a field that encodeMark does not know")
	// FNV-1a of 64 bits: "" is cbf29ce484222325, "a" af63dc4c8601ec8c, "foobar" 85944171f73967e8.
	for key, sum := range map[string]uint64{"": 0xcbf29ce484222325, "a": 0xaf63dc4c8601ec8c, "foobar": 0x85944171f73967e8} {
		require.EqualValues(t, (sum^sum>>32)%16, ShardOf(key, 16), key)
		require.EqualValues(t, (sum^sum>>32)%1000, ShardOf(key, 1000), key)
	}
}

func TestShardsAreEven(t *testing.T) {
	counts := make([]int, 16)
	for i := range 16_000 {
		counts[ShardOf(string(rune('a'+i%26))+"/"+string(rune(i)), 16)]++
	}
	for _, n := range counts {
		require.InDelta(t, 1000, n, 150)
	}
}

// FuzzFormat: what the parsers accept is what the encoders write.
func FuzzFormat(f *testing.F) {
	f.Add(format{Product: product, Format: formatVersion, Shards: 16, State: stateNew}.encode())
	f.Add([]byte(`{"product":"chord-plugin data","format":2}`))
	f.Add([]byte(`{"product":"chord-plugin data","format":1,"shards":16,"state":"ready","x":1}` + "\n"))
	f.Add([]byte(`{}`))
	f.Add(encodeMark(register.Mark{HighWater: 1 << 52}))
	f.Add([]byte{1, 0x80, 0x80})
	f.Add(encodeIdentity(Identity{Node: make([]byte, 32), Boot: 3}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if v, err := parseFormat(b); err == nil {
			require.Equal(t, b, v.encode())
		}
		if id, err := decodeIdentity(b); err == nil {
			require.Equal(t, b, encodeIdentity(id))
		}
		if m, err := decodeMark(b); err == nil {
			again, err := decodeMark(encodeMark(m))
			require.NoError(t, err)
			require.Equal(t, m, again)
		}
	})
}
