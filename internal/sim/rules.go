//go:build !mutation

package sim

// rule names a rule of a ring change that a test build can take out (see
// rules_mutation.go). In this build all rules hold.
type rule uint8

const (
	ruleJoint rule = iota
	ruleSync
	ruleFence
	ruleFlush
	rulePurge
)

func holds(rule) bool { return true }
