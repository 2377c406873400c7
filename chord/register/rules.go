//go:build !mutation

package register

// rule names a rule of the protocol that a test build can take out, to see that
// the simulation notices (see rules_mutation.go). In this build all rules hold
// and the compiler removes the question.
type rule uint8

const (
	ruleEvictFloor rule = iota
	ruleAmnesia
	ruleReissue
	ruleReapply
	ruleReadBack
	ruleDeadShortcut
	ruleAcceptedPromises
	ruleWindow
	ruleEpoch
	ruleMergeFloor
	ruleBound
)

func holds(rule) bool { return true }
