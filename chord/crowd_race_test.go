//go:build race

package chord

// crowd is smaller under the race detector, which makes everything several times
// slower.
const crowd = 12

// folderWriters is how many writers a listing has beside it.
const folderWriters = 8
