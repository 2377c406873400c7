//go:build mutation

package register

import "fmt"

// Rules lists what Break takes, by the names of the executable model.
var Rules = []string{"noevictfloor", "amnesia", "reissue", "reapply", "noreadback", "deadshortcut", "accnotpromise", "nowindow", "noepoch", "mergebelowfloor", "nobound", "nogcfloor", "forgetfate", "nogone", "forgetstamp", "aebelowpromise", "forgetjoint",
	"firstonly", "deadagain", "noundo", "untagged", "buildondoubt", "mixedbatch", "nowastagged", "adoptdead", "settleuntagged"}

var broken = -1

// Break takes the named rule out of every shard of this process; "" puts all
// rules back.
func Break(name string) {
	broken = -1
	for i, r := range Rules {
		if r == name {
			broken = i
		}
	}
	if name != "" && broken < 0 {
		panic(fmt.Sprintf("register: no rule %q; there are %v", name, Rules))
	}
}

func holds(r rule) bool { return int(r) != broken }
