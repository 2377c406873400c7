// Package store keeps what a member must not forget: the cells of its keys, the
// marks of its shards, the ring's configurations, its identity and how often it
// was started. It is the only package that knows Pebble.
//
// # What is durable, and when
//
// One goroutine, the committer, takes everything that waits in all shards,
// writes it as one Pebble batch, waits for the sync and only then reports it. So
// at most one batch of cells is under way at any time, and the writes that arrive
// during a sync share the next one.
//
// Pebble makes a batch readable before its sync has returned. A crash at that
// moment takes it back, so nobody may be shown it:
//
//   - Load may return a cell whose sync has not returned. It is for the shard
//     alone, which knows its own unsynced writes and holds back what depends on
//     them.
//   - Scan returns only after the batch that was under way when it ended is
//     durable. Its cells may be shown to anybody.
//   - Changes reports a key only after its write is durable.
//   - Barrier does the waiting for anything else that was read.
//
// # When the disk fails
//
// The first failed write, sync or read, or data that does not match its checksum,
// makes the store failed for good: no write is acknowledged from then on, reads
// return the failure, and OnFail is told once. There is no way back but a restart:
// after a failed sync nobody knows which pages the disk holds (Rebello et al.,
// "Can Applications Recover from fsync Failures?", 2020).
//
// Pebble meets a failed write with Logger.Fatalf, a panic that leaves its locks
// held, or an endless retry, depending on the file. So it never sees one: the file
// system under it notes the first failure and from then on takes writes without
// passing them on. On the disk it is as if the process had died at that moment,
// which is what the crash tests cover; in the process Pebble stays able to close.
package store
