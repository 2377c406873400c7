//go:build race

package chord

// largestValue is smaller under the race detector, which looks at every byte of
// the dozens of copies that five members in one process make of a value.
const largestValue = 16 << 10
