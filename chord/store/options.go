package store

import (
	"fmt"

	metrics "github.com/armon/go-metrics"
	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/go-hclog"
)

// The defaults and limits of Options.
const (
	// DefaultShards is the number of shards of a new data directory.
	DefaultShards = 16
	// MaxShards bounds the shards of a data directory.
	MaxShards = 1024
	// DefaultMaxBatchBytes is below half a memtable, above which Pebble treats a
	// batch on its own.
	DefaultMaxBatchBytes = 8 << 20
	// DefaultMaxQueueBytes holds eight of the largest values.
	DefaultMaxQueueBytes = 64 << 20
	// DefaultCacheBytes is the size of the block cache.
	DefaultCacheBytes = 64 << 20
)

// memTableBytes is the size of a memtable. A memtable is kept whole in the WAL
// too, so a directory takes at least about this much of the disk.
const memTableBytes = 32 << 20

// stopWritesL0 is how many tables lie above each other in the first level when
// writes begin to wait for a compaction.
const stopWritesL0 = 24

// Options configures a Store. The zero value of a field is its default.
type Options struct {
	// Dir is the data directory. It is made if it does not exist.
	Dir string
	// Memory keeps everything in memory: the same code on an in-memory file
	// system, in which Dir is a name only and may be empty. All is lost at Close.
	Memory bool
	// FS replaces the file system, for tests.
	FS vfs.FS
	// Shards is the number of shards of a new data directory, 1 to MaxShards. One
	// that exists keeps the number it was made with; see Store.Shards.
	Shards int
	// Logger takes warnings, and Pebble's own lines at debug.
	Logger hclog.Logger
	// Metrics may be nil. The store counts under "store".
	Metrics *metrics.Metrics
	// MaxBatchBytes bounds what one sync covers. A single Commit above it is a
	// batch of its own.
	MaxBatchBytes int
	// MaxQueueBytes is how much may wait for a sync before Overloaded says so.
	MaxQueueBytes int
	// CacheBytes is the size of the block cache. The memtables come on top, two of
	// 32 MiB at most in ordinary work; both are taken only as data comes.
	CacheBytes int64
	// OnFail is told once why the store has failed, from a goroutine that Close
	// waits for; so it must not call Close itself. It may be nil.
	OnFail func(error)

	memTable uint64 // tests use a small one
	// quiet: no compactions. An Open of Pebble's that fails late frees the file
	// cache under a compaction that has begun, which then panics; the test of
	// failing opens does not want to meet that.
	quiet bool
}

// complete fills in the defaults and says what is wrong.
func (o *Options) complete() error {
	set := func(v *int, def int) {
		if *v == 0 {
			*v = def
		}
	}
	set(&o.Shards, DefaultShards)
	set(&o.MaxBatchBytes, DefaultMaxBatchBytes)
	set(&o.MaxQueueBytes, DefaultMaxQueueBytes)
	if o.CacheBytes == 0 {
		o.CacheBytes = DefaultCacheBytes
	}
	if o.memTable == 0 {
		o.memTable = memTableBytes
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.FS == nil {
		o.FS = vfs.Default
		if o.Memory {
			o.FS = vfs.NewMem()
		}
	}
	if o.Dir == "" && o.Memory {
		o.Dir = "memory"
	}
	switch {
	case o.Dir == "":
		return fmt.Errorf("no data directory is named")
	case o.Shards < 1 || o.Shards > MaxShards:
		return fmt.Errorf("shards is %d; allowed are 1 to %d", o.Shards, MaxShards)
	case o.MaxBatchBytes < 1 || o.MaxQueueBytes < 1 || o.CacheBytes < 1:
		return fmt.Errorf("batch, queue and cache are %d, %d and %d bytes; each must be above 0", o.MaxBatchBytes, o.MaxQueueBytes, o.CacheBytes)
	}
	return nil
}

// pebbleOptions tunes Pebble for a small server that writes one batch at a time,
// reads by point and asks for many keys that are not there.
func (s *Store) pebbleOptions(cache *pebble.Cache, exists bool) *pebble.Options {
	o := &pebble.Options{
		FS:                          s.disk,
		Cache:                       cache,
		ErrorIfNotExists:            exists,
		FormatMajorVersion:          pebble.FormatTableFormatV6,
		MemTableSize:                s.opts.memTable,
		DisableAutomaticCompactions: s.opts.quiet,
		MemTableStopWritesThreshold: 4,
		L0StopWritesThreshold:       stopWritesL0,
		MaxOpenFiles:                512,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 2 },
		Logger:                      pebbleLogger{log: s.log, disk: s.disk},
		EventListener: &pebble.EventListener{
			BackgroundError: s.disk.fail,
			DataCorruption: func(info pebble.DataCorruptionInfo) {
				s.disk.fail(fmt.Errorf("corrupt data in %s: %w", info.Path, info.Details))
			},
			WriteStallBegin: func(info pebble.WriteStallBeginInfo) {
				s.log.Warn("writes wait for the disk", "reason", info.Reason)
				s.count("stalls", 1)
			},
			FlushBegin: func(pebble.FlushInfo) { s.unflushed.Store(0) },
		},
	}
	o.Experimental.ReadSamplingMultiplier = -1 // no compactions because of reads
	// The scheduler of Pebble's tests is the usual one without a goroutine that
	// looks ten times a second whether a second compaction may run; here that one
	// waits for the first. Open leaves that goroutine behind when it fails.
	o.Experimental.CompactionScheduler = pebble.NewConcurrencyLimitSchedulerWithNoPeriodicGrantingForTest()
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10) // the last level too: most misses go there
	}
	return o
}

// pebbleLogger hands Pebble's lines to hclog. What Pebble holds to be fatal makes
// the store failed, which is how it is reported.
type pebbleLogger struct {
	log  hclog.Logger
	disk *disk
}

func (l pebbleLogger) Infof(format string, args ...any) {
	if l.log.IsDebug() {
		l.log.Debug("pebble: " + fmt.Sprintf(format, args...))
	}
}

func (l pebbleLogger) Errorf(format string, args ...any) {
	l.log.Debug("pebble: error: " + fmt.Sprintf(format, args...))
}

func (l pebbleLogger) Fatalf(format string, args ...any) {
	l.disk.fail(fmt.Errorf("pebble: "+format, args...))
}
