// Package txn makes transactions and atomic lists out of registers that each
// change by themselves.
//
// It follows ScalarDB's Consensus Commit (Yamada et al., VLDB 2023),
// itself after Cherry Garcia (Dey et al., ICDE 2015): writes are buffered; each
// written key gets an intent beside its old value; one register, the
// transaction's status, decides for all of them; whoever meets an intent reads
// the status and finishes what it says. Conflicts are settled by age
// (wound-wait; Rosenkrantz et al. 1978). To commit is to
//
//  1. create the status PENDING, with the written keys;
//  2. place the intents, each a conditional change;
//  3. read again what was read and not written, lists included;
//  4. turn the status from PENDING to COMMITTED, unless somebody nudged it after
//     step 3 began (then back to 3) or aborted it;
//  5. apply the intents;
//  6. forget the status.
//
// A nudge is what a reader leaves at a pending status when it takes the old value
// under an intent: the transaction comes after that reader, so what it read must
// hold after that, too. A transaction that read nothing but what it writes has all
// it depends on under its intents: it skips step 3, and readers need not nudge it.
//
// The package is pure: it waits, reads and writes through Registers only. The
// simulation runs it as coroutines under one seed; a node runs it as it stands.
package txn
