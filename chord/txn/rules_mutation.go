//go:build mutation

package txn

import "github.com/chord-plugin/chord-plugin/internal/mutation"

// Rules are those that can be taken out, most by the names of the executable model.
var Rules = mutation.New(
	"createlate", "novalidate", "forgetfirst", "nolistcheck", "ignoreintent", "onepass", "statusafter", "nonudge",
	"absentold", "statusperkey", "applyearly", "manymoments", "placeagain",
	"deadholder", "listdeadholder", "noalive", "sessionatcommit", "nolockdelay", "locktombstone",
	"movedpending", "movedfrozen", "heldread",
)

func holds(r rule) bool { return Rules.Holds(int(r)) }
