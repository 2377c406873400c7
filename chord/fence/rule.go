package fence

// rule names a rule of the procedure. A build with the tag "mutation" can take one
// out (see rules_mutation.go), to see that the simulation notices.
type rule uint8

const (
	ruleAllButF rule = iota
	ruleSettle
	ruleInstalledFirst
)
