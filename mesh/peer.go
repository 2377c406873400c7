package mesh

import (
	"fmt"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// Role is what a node is in the ring.
type Role string

// The roles.
const (
	// RoleMember owns keys, is dialled and relays.
	RoleMember Role = "member"
	// RoleClient owns nothing (js2p's leech): it dials members, is not dialled and does not relay.
	RoleClient Role = "client"
)

// maxText bounds a name or an address, in bytes.
const maxText = 256

// Peer is a node as the mesh knows it.
type Peer struct {
	//lint:ignore U1000 read by the codec
	_struct bool `codec:",toarray"`

	ID   ring.ID
	Name string
	// Addr is the host:port at which the node can be dialled; empty for a client.
	Addr string
	Role Role
	// RingID is empty for a node that is not in a ring yet.
	RingID ring.RingID
	// Epoch is the node's epoch as last heard from itself.
	Epoch uint64
}

// String prints name, short ID and address, for messages.
func (p Peer) String() string {
	if p.Addr == "" {
		return fmt.Sprintf("%s (%s)", p.Name, p.ID.Short())
	}
	return fmt.Sprintf("%s (%s at %s)", p.Name, p.ID.Short(), p.Addr)
}

// validate says what makes p unusable, whoever told of it.
func (p Peer) validate() error {
	switch {
	case p.ID.IsZero() || p.ID.Node() == 0:
		return fmt.Errorf("node %q has no usable ID", p.Name)
	case len(p.Name) > maxText || len(p.Addr) > maxText || len(p.RingID) > maxText:
		return fmt.Errorf("node %s has a name, an address or a ring ID of more than %d bytes", p.ID.Short(), maxText)
	case p.Role != RoleMember && p.Role != RoleClient:
		return fmt.Errorf("node %s has the role %q; roles are %q and %q", p.ID.Short(), p.Role, RoleMember, RoleClient)
	case p.Role == RoleMember && p.Addr == "":
		return fmt.Errorf("member %q (%s) has no address", p.Name, p.ID.Short())
	}
	return nil
}
