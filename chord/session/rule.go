package session

// rule names a rule of this package. A build with the tag "mutation" can take one
// out (see rules_mutation.go), to see that the simulation notices; in all other
// builds every rule holds and the compiler removes the question.
type rule uint8

const (
	ruleOwnClock rule = iota
	ruleSameIndex
	ruleSlack
	ruleOnlyIf
	ruleSweepFirst
)
