//go:build mutation

package fence

import "github.com/chord-plugin/chord-plugin/internal/mutation"

// Rules are those that can be taken out.
var Rules = mutation.New("fencemajority", "nosettle", "lateinstall")

func holds(r rule) bool { return Rules.Holds(int(r)) }
