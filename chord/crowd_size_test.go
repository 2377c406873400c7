//go:build !race

package chord

// crowd is how many members join together.
const crowd = 40

// folderWriters is how many writers a listing has beside it.
const folderWriters = 30
