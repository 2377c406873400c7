//go:build mutation

package fence

import "slices"

// Rules lists what Break takes.
var Rules = []string{"fencemajority", "nosettle", "lateinstall"}

var broken = -1

// Break takes the named rule out; "" puts all rules back.
func Break(name string) { broken = slices.Index(Rules, name) }

func holds(r rule) bool { return int(r) != broken }
