package register

// rule names a rule of the protocol. A build with the tag "mutation" can take one
// out (see rules_mutation.go), to see that the simulation notices; in all other
// builds every rule holds and the compiler removes the question.
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
	ruleForgetFloor
	ruleForgetFate
	ruleGone
	ruleForgetStamp
	ruleMergePromise
	ruleForgetFinal
	ruleFirstOnly
	ruleDead
	ruleUndo
	ruleKeepTag
	ruleSettleFirst
	ruleBatch
	ruleWasTagged
	ruleAdoptDoubt
	ruleSettleTag
)
