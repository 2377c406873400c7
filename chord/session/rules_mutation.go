//go:build mutation

package session

import "github.com/chord-plugin/chord-plugin/internal/mutation"

// Rules are those that can be taken out.
var Rules = mutation.New("otherclock", "anyindex", "noslack", "enduncond", "forgetunswept")

func holds(r rule) bool { return Rules.Holds(int(r)) }
