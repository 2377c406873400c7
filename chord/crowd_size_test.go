//go:build !race

package chord

// crowd is how many members join together.
const crowd = 40
