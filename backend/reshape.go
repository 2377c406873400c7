package backend

// RemoveRequest asks for members to be taken out of the ring that are gone for
// good, or are to go.
type RemoveRequest struct {
	// Names are the members. All go in one change.
	Names []string `json:"names"`
	// Force takes them out although too many are gone for a quorum. Without
	// Confirm nothing is done: the report says what may be lost.
	Force   bool `json:"force,omitempty"`
	Confirm bool `json:"confirm,omitempty"`
}

// RemoveReport says what a removal does.
type RemoveReport struct {
	// Epoch is that of the change which was begun; 0 when nothing was. The change
	// is over when the ring has a later epoch that is not joint.
	Epoch uint64 `json:"epoch"`
	// Survivors are the members that stay, sorted.
	Survivors []string `json:"survivors"`
	// AtRisk is the share of keys, 0 to 1, of which so many owners are removed
	// that an acknowledged write may be gone. It is 0 without Force.
	AtRisk float64 `json:"at_risk"`
	// Missing are survivors that do not answer: a forced removal needs all of
	// them, or their removal too.
	Missing []string `json:"missing,omitempty"`
}

// VerifyQuery asks for the copies of a part of the ring's keys to be compared.
type VerifyQuery struct {
	// After is the key after which to begin, as Next of the page before.
	After string `json:"after,omitempty"`
	// Limit is the most keys to look at; 0 stands for 10,000.
	Limit int `json:"limit,omitempty"`
	// Repair gives every owner its copy.
	Repair bool `json:"repair,omitempty"`
}

// VerifyPage is what was found.
type VerifyPage struct {
	// Keys is how many keys were looked at, deleted ones included as long as they
	// are remembered.
	Keys int `json:"keys"`
	// Problems are the keys whose owners do not all hold the same.
	Problems []KeyProblem `json:"problems,omitempty"`
	// Repaired is how many of them were mended; they are not in Problems.
	Repaired int `json:"repaired,omitempty"`
	// Silent names the members that did not answer. Their copies count as missing.
	Silent []string `json:"silent,omitempty"`
	// Next is where the next page begins; More says that there is one.
	Next string `json:"next,omitempty"`
	More bool   `json:"more,omitempty"`
}

// KeyProblem is a key whose owners do not all hold the same.
type KeyProblem struct {
	Key string `json:"key"`
	// Missing names the owners that hold nothing, Behind those that hold an older
	// copy than the newest.
	Missing []string `json:"missing,omitempty"`
	Behind  []string `json:"behind,omitempty"`
	// Copies is how many owners hold the newest, Owners how many there are.
	Copies int `json:"copies"`
	Owners int `json:"owners"`
	// Error says why it could not be mended.
	Error string `json:"error,omitempty"`
}

// SyncProgress is how far a member is in copying what it is to own.
type SyncProgress struct {
	// Keys and Bytes were copied so far.
	Keys  uint64 `json:"keys"`
	Bytes uint64 `json:"bytes"`
	// Rate is in bytes per second, since the copying began.
	Rate float64 `json:"rate"`
	// Done is the part that is done, 0 to 1, and SecondsLeft the time that is left
	// if it goes on like that; -1 when that is not known yet.
	Done        float64 `json:"done"`
	SecondsLeft float64 `json:"seconds_left"`
}

// RepairStatus is how far a node is in comparing its copies with the others'.
type RepairStatus struct {
	// Running says that a comparison is under way, With whom, and how far, 0 to 1.
	Running bool    `json:"running"`
	With    string  `json:"with,omitempty"`
	Done    float64 `json:"done,omitempty"`
	// Behind names the members with which this one has still to compare since one
	// of the two returned.
	Behind []string `json:"behind,omitempty"`
	// Received and Given count the copies that were mended here and elsewhere
	// since the node started.
	Received uint64 `json:"received"`
	Given    uint64 `json:"given"`
	// LastSeconds is how long ago the last whole comparison with all members
	// ended; -1 before the first.
	LastSeconds float64 `json:"last_seconds"`
}
