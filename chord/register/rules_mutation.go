//go:build mutation

package register

import "github.com/chord-plugin/chord-plugin/internal/mutation"

// Rules are those that can be taken out, by the names of the executable model.
var Rules = mutation.New(
	"noevictfloor", "amnesia", "reissue", "reapply", "noreadback", "deadshortcut", "accnotpromise", "nowindow", "noepoch", "mergebelowfloor", "nobound", "nogcfloor", "forgetfate", "nogone", "forgetstamp", "aebelowpromise", "forgetjoint",
	"firstonly", "deadagain", "noundo", "untagged", "buildondoubt", "mixedbatch", "nowastagged", "adoptdead", "settleuntagged",
)

func holds(r rule) bool { return Rules.Holds(int(r)) }
