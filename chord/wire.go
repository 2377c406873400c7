package chord

import "github.com/chord-plugin/chord-plugin/mesh"

// What nodes say to each other over the mesh. Numbers are append-only.

// Sends: one way.
const (
	// sendRegister carries a register.Message.
	sendRegister mesh.Type = 1
)

// Calls.
const (
	callConfiguration mesh.Type = 1 + iota
	callPrepareRing
	callAcceptRing
	callScan
	callChanges
	callInspect
	callChain
	callChangeRing
	callProgress
	callImpose
	callPage
	callCells
	callLives
	callDigest
	callCompared
	callAdopt
	callTombstones
	callFeed
	callHeld
	callInstallFence
	callFenced
	callSessions
)

// Codes of the errors that handlers return.
const (
	codeNotReady uint32 = 1 + iota
	codeStaleEpoch
	codeStore
	codeRefused
)
