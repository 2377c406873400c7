//go:build mutation

package txnsim

// blindIndex: members do not name the sessions of intents.
var blindIndex = false
