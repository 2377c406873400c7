package ring

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
)

// MaxReplicas is the largest number of copies of a key: one a hash.
const MaxReplicas = 5

// Hashes returns the five points of a key, in js2p's order: SHA-1 << 224,
// SHA-224 << 160, SHA-256 << 128, SHA-384, and SHA-512 modulo 2^384. The shifts
// spread the short hashes over the whole circle.
func Hashes(key string) [MaxReplicas]ID {
	var p [MaxReplicas]ID
	hashes(key, MaxReplicas, &p)
	return p
}

// Keys up to these lengths are hashed from a buffer on the stack; the second is
// backend.DefaultMaxKeySize.
const (
	shortKey = 128
	longKey  = 2048
)

// hashes puts the first n points of key into p.
func hashes(key string, n int, p *[MaxReplicas]ID) {
	if len(key) > shortKey {
		hashesLong(key, n, p)
		return
	}
	var buf [shortKey]byte
	hashBytes(append(buf[:0], key...), n, p)
}

// hashesLong is apart from hashes so that a short key does not pay for zeroing
// the large buffer.
//
//go:noinline
func hashesLong(key string, n int, p *[MaxReplicas]ID) {
	var buf [longKey]byte
	hashBytes(append(buf[:0], key...), n, p)
}

func hashBytes(key []byte, n int, p *[MaxReplicas]ID) {
	for i := range n {
		switch i {
		case 0:
			h := sha1.Sum(key)
			copy(p[i].b[:], h[:])
		case 1:
			h := sha256.Sum224(key)
			copy(p[i].b[:], h[:])
		case 2:
			h := sha256.Sum256(key)
			copy(p[i].b[:], h[:])
		case 3:
			p[i].b = sha512.Sum384(key)
		case 4:
			h := sha512.Sum512(key)
			copy(p[i].b[:], h[len(h)-idBytes:])
		}
	}
}
