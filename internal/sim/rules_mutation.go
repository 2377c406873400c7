//go:build mutation

package sim

import (
	"slices"

	"github.com/chord-plugin/chord-plugin/chord/fence"
	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/txn"
)

// rules lists what breakRule takes besides register.Rules.
var rules = []string{"nojoint", "nosync", "nofence", "noflush", "nopurge", "gcmajority", "learnunheld", "endbyold", "volatilefence", "unfencedjoiner"}

var broken = -1

// breakRule takes the named rule out of every node of this process; "" puts all
// rules back. Of those of transactions only some show here; see internal/txnsim.
func breakRule(name string) {
	txn.Break("")
	if slices.Contains(txn.Rules, name) {
		txn.Break(name)
		name = ""
	}
	broken = slices.Index(rules, name)
	fence.Break(name)
	if broken >= 0 || slices.Contains(fence.Rules, name) {
		name = ""
	}
	register.Break(name)
}

func holds(r rule) bool { return int(r) != broken }
