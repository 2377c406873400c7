//go:build race

package chord

// crowd is smaller under the race detector, which makes everything several times
// slower.
const crowd = 12
