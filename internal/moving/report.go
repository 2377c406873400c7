package moving

// maxNamed is how many keys a report names of each kind; it counts all of them.
const maxNamed = 100

// Progress is how far a move is.
type Progress struct {
	// Doing is "read", "compared", "written", "deleted" or "verified".
	Doing string
	// Keys are done, of Of; Of is 0 while nobody knows how many there are.
	Keys, Of int
	// Bytes are the values of those keys, for "read" and "written".
	Bytes int64
}

// Problem is what is wrong with a key.
type Problem struct {
	Key string `json:"key"`
	// What is wrong, in a sentence without the key.
	What string `json:"what"`
}

// Problems are counted, and the first of them kept.
type Problems struct {
	Count int       `json:"count"`
	First []Problem `json:"first,omitempty"`
}

func (p *Problems) add(key, what string) {
	if p.Count++; p.Count <= maxNamed {
		p.First = append(p.First, Problem{Key: key, What: what})
	}
}

// Moved is what an Import did, or with DryRun would do.
type Moved struct {
	Format string `json:"format"`
	Path   string `json:"path"`
	DryRun bool   `json:"dry_run"`
	// Keys are those of the source, and Bytes the size of their values.
	Keys  int   `json:"keys"`
	Bytes int64 `json:"bytes"`
	// Present keys were there and equal. Written ones were not, and Overwritten of
	// them were there and differed.
	Present     int `json:"present"`
	Written     int `json:"written"`
	Overwritten int `json:"overwritten"`
	// Others are keys that the source does not have and that were kept or deleted;
	// Deleted is how many were deleted.
	Others  Problems `json:"others"`
	Deleted int      `json:"deleted"`
	// LeftOut are keys that stay behind. They have the names that they have in the
	// source, all others those that they are to have.
	LeftOut Problems `json:"left_out"`
	// Doubtful are keys that move, and might have to stay behind.
	Doubtful Problems `json:"doubtful"`
	// Refused are keys that cannot be stored, that exist and differ, or that the
	// source does not have.
	Refused Problems `json:"refused"`
	// Verified reports that all keys were read back as they are in the source.
	// SHA256 is the hash of what was read back, then.
	Verified bool   `json:"verified"`
	SHA256   string `json:"sha256,omitempty"`
}

// Exported is what an Export wrote.
type Exported struct {
	Format string `json:"format"`
	Path   string `json:"path"`
	Keys   int    `json:"keys"`
	Bytes  int64  `json:"bytes"`
	// Pages are the listings that it is made of; each is of one instant.
	Pages int `json:"pages"`
	// Mortal counts keys that have a lifetime, which the format does not hold.
	Mortal int `json:"without_lifetime"`
	// SHA256 is the hash of all keys. Verified reports that the file was read back
	// and has it.
	SHA256   string `json:"sha256"`
	Verified bool   `json:"verified"`
}
