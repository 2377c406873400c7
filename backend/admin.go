package backend

import "context"

// Admin is what an operator asks a node. The HTTP API and the command line are
// built on it.
type Admin interface {
	// Status describes this node.
	Status(ctx context.Context) (*Status, error)
	// Members lists what gossip knows of every node, sorted by name.
	Members(ctx context.Context) ([]Member, error)
	// Ring describes the configuration that places the keys.
	Ring(ctx context.Context) (*Ring, error)
	// Locate tells where a key lives and what each of its owners holds.
	Locate(ctx context.Context, key string) (*Location, error)
	// Leave takes this member out of the ring: it gives away what it owns, and
	// returns when it owns nothing any more. The node then serves as a client
	// until it is closed, and does not come back by itself.
	Leave(ctx context.Context) error
	// Remove takes members out of the ring; see RemoveRequest. It returns when the
	// change has begun. A member that is alive is refused: it is to leave.
	Remove(ctx context.Context, req RemoveRequest) (*RemoveReport, error)
	// Verify compares the copies of a page of keys at all their owners.
	Verify(ctx context.Context, q VerifyQuery) (*VerifyPage, error)
}

// Status describes one node.
type Status struct {
	Name    string `json:"name"`
	ID      string `json:"id"`
	Version string `json:"version"`
	// Role is "member" or "client".
	Role string `json:"role"`
	// State is "starting", "serving", "failed" or "stopping".
	State string `json:"state"`
	// Reason says why the state is not "serving".
	Reason string `json:"reason,omitempty"`
	RingID string `json:"ring_id,omitempty"`
	Epoch  uint64 `json:"epoch"`
	// Quorum reports that enough members are alive for every key to be served.
	Quorum bool `json:"quorum"`
	// Alive and Members count the members of the ring.
	Alive   int `json:"alive"`
	Members int `json:"members"`
	// Keys counts the cells stored here, tombstones included, roughly.
	Keys uint64 `json:"keys"`
	// DiskBytes is the size of the data directory, roughly.
	DiskBytes     uint64  `json:"disk_bytes"`
	UptimeSeconds float64 `json:"uptime_seconds"`
	// GossipAddr and MeshAddr are where others reach the node.
	GossipAddr string `json:"gossip_addr,omitempty"`
	MeshAddr   string `json:"mesh_addr,omitempty"`
	HTTPAddr   string `json:"http_addr,omitempty"`
	DataDir    string `json:"data_dir,omitempty"`
	// PeersConnected counts the mesh's direct connections.
	PeersConnected int `json:"peers_connected"`
	// Change says what a change of the ring that is under way waits for.
	Change string `json:"change,omitempty"`
	// Repair is nil for a client.
	Repair *RepairStatus `json:"repair,omitempty"`
}

// Member is one node as gossip sees it.
type Member struct {
	Name string `json:"name"`
	ID   string `json:"id"`
	// Role is "member" or "client".
	Role string `json:"role"`
	// State is "alive", "suspect", "dead" or "left".
	State      string `json:"state"`
	GossipAddr string `json:"gossip_addr"`
	MeshAddr   string `json:"mesh_addr"`
	HTTPAddr   string `json:"http_addr,omitempty"`
	Version    string `json:"version,omitempty"`
}

// Ring is the ring's configuration as this node knows it.
type Ring struct {
	RingID string `json:"ring_id"`
	Epoch  uint64 `json:"epoch"`
	// Joint reports that a change of the ring is under way.
	Joint    bool         `json:"joint"`
	Replicas int          `json:"replicas"`
	Level    int          `json:"level"`
	Members  []RingMember `json:"members"`
	// Change says what a change that is under way waits for.
	Change string `json:"change,omitempty"`
}

// RingMember is one owner of keys.
type RingMember struct {
	Name string `json:"name"`
	ID   string `json:"id"`
	// State is as in Member; "unknown" when gossip has never seen it.
	State  string `json:"state"`
	Addr   string `json:"addr"`
	Tokens int    `json:"tokens"`
	// Share is the part of all copies that this member keeps, 0 to 1.
	Share float64 `json:"share"`
	// Change is "joins" or "leaves" while the ring changes, and empty for a member
	// that stays. Share is then that after the change.
	Change string `json:"change,omitempty"`
	// Synced reports, while the ring changes, that the member has all that it is
	// to own; Sync is how far it is. Sync is nil when the member did not say.
	Synced bool          `json:"synced,omitempty"`
	Sync   *SyncProgress `json:"sync,omitempty"`
}

// Location tells where a key lives.
type Location struct {
	Key string `json:"key"`
	// Points are the key's five places on the ring, in hex (384 bits).
	Points []string `json:"points"`
	// Owners are in order of preference; the first is the primary.
	Owners []OwnerCopy `json:"owners"`
}

// OwnerCopy is what one owner holds of a key.
type OwnerCopy struct {
	Name string `json:"name"`
	ID   string `json:"id"`
	// State is as in Member.
	State string `json:"state"`
	// Ballot is the accepted ballot, "" when the owner did not answer and
	// "none" when it holds nothing.
	Ballot string `json:"ballot"`
	// Index is the modify index of the copy.
	Index uint64 `json:"index"`
	// Live is false for a tombstone or nothing.
	Live bool `json:"live"`
	// Error says why there is no ballot.
	Error string `json:"error,omitempty"`
}
