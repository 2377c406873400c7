//go:build mutation

package session

import "fmt"

// Rules lists what Break takes.
var Rules = []string{"otherclock", "anyindex", "noslack", "enduncond", "forgetunswept"}

var broken = -1

// Break takes the named rule out of this process; "" puts all rules back.
func Break(name string) {
	broken = -1
	for i, r := range Rules {
		if r == name {
			broken = i
		}
	}
	if name != "" && broken < 0 {
		panic(fmt.Sprintf("session: no rule %q; there are %v", name, Rules))
	}
}

func holds(r rule) bool { return int(r) != broken }
