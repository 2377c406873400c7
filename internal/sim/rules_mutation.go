//go:build mutation

package sim

import (
	"github.com/chord-plugin/chord-plugin/chord/fence"
	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/txn"
	"github.com/chord-plugin/chord-plugin/internal/mutation"
)

// rules are those of what the nodes of this package do.
var rules = mutation.New("nojoint", "nosync", "nofence", "noflush", "nopurge", "gcmajority", "learnunheld", "endbyold", "volatilefence", "unfencedjoiner")

// breakRule takes the named rule out of every node of this process; "" puts all
// rules back. Of those of transactions only some show here; see internal/txnsim.
func breakRule(name string) { mutation.Break(name, register.Rules, fence.Rules, txn.Rules, rules) }

func holds(r rule) bool { return rules.Holds(int(r)) }
