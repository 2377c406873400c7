package ring

import (
	_ "embed"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

// Made by Python's hashlib: cd testdata && python3 hashes.py > hashes.txt
//
//go:embed testdata/hashes.txt
var knownHashes string

func TestHashesKnownAnswers(t *testing.T) {
	lines := strings.Split(strings.TrimSpace(knownHashes), "\n")
	if len(lines) < 13 {
		t.Fatalf("%d lines of known answers, want 13 or more", len(lines))
	}
	for _, line := range lines {
		fields := strings.Fields(line)
		if len(fields) != 1+MaxReplicas {
			t.Fatalf("%d fields, want a key and %d points: %q", len(fields), MaxReplicas, line)
		}
		key, err := hex.DecodeString(strings.TrimPrefix(fields[0], "-"))
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range Hashes(string(key)) {
			if p.Hex() != fields[1+i] {
				t.Errorf("key of %d bytes %.20q, point %d:\n got %s\nwant %s", len(key), key, i, p.Hex(), fields[1+i])
			}
		}
	}
}

// The digests of "abc" as `printf abc | sha1sum`, sha224sum, sha256sum,
// sha384sum and sha512sum print them (they are the examples of FIPS 180-4 too),
// with the shifts and the modulus written out: zeros behind, leading digits off.
func TestHashesShiftsAndModulus(t *testing.T) {
	digests := []string{
		"a9993e364706816aba3e25717850c26c9cd0d89d",
		"23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7",
		"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
		"cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
		"ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a" +
			"2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
	}
	shifts := []int{224, 160, 128, 0, 0}
	points := Hashes("abc")
	for i, d := range digests {
		want := d + strings.Repeat("0", shifts[i]/4)
		want = want[len(want)-Bits/4:] // modulo 2^384
		if got := points[i].Hex(); got != want {
			t.Errorf("point %d:\n got %s\nwant %s", i, got, want)
		}
	}
}

func TestHashesOfFewerPointsAreTheFirst(t *testing.T) {
	for _, size := range []int{0, 1, shortKey, shortKey + 1, longKey, longKey + 1} {
		key := strings.Repeat("z", size)
		all := Hashes(key)
		for n := range MaxReplicas + 1 {
			var some [MaxReplicas]ID
			hashes(key, n, &some)
			for i := range some {
				want := ID{}
				if i < n {
					want = all[i]
				}
				if some[i] != want {
					t.Errorf("key of %d bytes, %d points: point %d is %s, want %s", size, n, i, some[i], want)
				}
			}
		}
	}
}

func TestHashesAndGroupDoNotAllocate(t *testing.T) {
	p := NewPlacement(testConfiguration(7, MaxReplicas))
	for _, size := range []int{1, shortKey, longKey} {
		key := strings.Repeat("z", size)
		if n := testing.AllocsPerRun(100, func() { Hashes(key) }); n != 0 {
			t.Errorf("Hashes of a key of %d bytes: %v allocations, want none", size, n)
		}
		if n := testing.AllocsPerRun(100, func() { p.Group(key) }); n != 0 {
			t.Errorf("Group of a key of %d bytes: %v allocations, want none", size, n)
		}
	}
}

// benchKeys are keys of one length, different enough that no branch of the
// search is learned by heart.
func benchKeys(size int) []string {
	keys := make([]string, 1024)
	for i := range keys {
		keys[i] = fmt.Sprintf("%0*d", size, i)
	}
	return keys
}

func BenchmarkHashes(b *testing.B) {
	for _, size := range []int{16, 64, 512, 2048} {
		keys := benchKeys(size)
		b.Run(fmt.Sprintf("key=%d", size), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				Hashes(keys[i%len(keys)])
			}
		})
	}
}
