package sim

// rule names a rule of ring changes, or of forgetting, that the nodes of this
// package carry out, and that a build with the tag "mutation" can take out (see
// rules_mutation.go).
type rule uint8

const (
	ruleJoint rule = iota
	ruleSync
	ruleFence
	ruleFlush
	rulePurge
	ruleForgetAll
	ruleLearnHeld
	ruleUndoOnly
	ruleFenceDurable
	ruleFenceJoin
)
