//go:build mutation

package txn

import "fmt"

// Rules lists what Break takes, most by the names of the executable model.
var Rules = []string{
	"createlate", "novalidate", "forgetfirst", "nolistcheck", "ignoreintent", "onepass", "statusafter", "nonudge",
	"absentold", "statusperkey", "applyearly", "manymoments", "placeagain",
	"deadholder", "listdeadholder", "noalive", "sessionatcommit", "nolockdelay", "locktombstone",
}

var broken = -1

// Break takes the named rule out of every coordinator of this process; "" puts
// all rules back.
func Break(name string) {
	broken = -1
	for i, r := range Rules {
		if r == name {
			broken = i
		}
	}
	if name != "" && broken < 0 {
		panic(fmt.Sprintf("txn: no rule %q; there are %v", name, Rules))
	}
}

func holds(r rule) bool { return int(r) != broken }
