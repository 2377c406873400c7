package txn

// rule names a rule of the protocol. A build with the tag "mutation" can take one
// out (see rules_mutation.go), to see that the simulation notices; in all other
// builds every rule holds and the compiler removes the question.
type rule uint8

const (
	ruleCreateFirst rule = iota
	ruleValidate
	ruleForgetLast
	ruleListCheck
	ruleOthersIntents
	ruleSecondPass
	ruleStatusBefore
	ruleNudge
	ruleAbsentAgain
	ruleStatusOnce
	ruleApplyAfter
	ruleOneMoment
	rulePlaceOnce
	ruleHolderLives
	ruleListHolders
	ruleAlive
	ruleSessionAtCommit
	ruleLockDelay
	ruleLockTombstone
	ruleMovedPending
	ruleMovedFrozen
	ruleHeldRead
)
