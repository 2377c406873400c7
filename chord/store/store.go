package store

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/go-hclog"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
)

var (
	// ErrClosed says that the store was closed.
	ErrClosed = errors.New("the store is closed")
	// ErrFailed is in every error of a store whose disk has failed, beside the
	// cause.
	ErrFailed = errors.New("the store has failed and acknowledges nothing until it is restarted")
	// ErrInUse says that another process has the data directory open.
	ErrInUse = errors.New("it is in use")
	// ErrRefused says that Refuse was called on the data directory.
	ErrRefused = errors.New("it was refused when its member was last started with it: it was restored from a backup or copied, " +
		"and what the member promised since is not in it. Empty the directory and start again: the member returns as a new one and copies everything; unless its member runs elsewhere, with the newer one")

	errLost    = errors.New("the database holds no identity")
	errDamaged = errors.New("a row is not as it was written")
)

// Identity is what a member is from its first start on.
type Identity struct {
	// Node is 32 random bytes, minted once; ring.NodeID makes an ID of them.
	Node []byte
	// Boot is the number of times the directory was opened, this time included.
	// It is durable before Open returns.
	Boot uint64
	// Format is the data directory's format version.
	Format int
}

// Store is an open data directory. Its methods may be called from several
// goroutines at a time.
type Store struct {
	opts     Options
	log      hclog.Logger
	disk     *disk
	dir      *directory
	identity Identity

	// usable is held for reading by whoever uses db, and for writing to close it.
	usable sync.RWMutex
	db     *pebble.DB // nil once closed

	commits   queue
	marks     marks
	chain     chain
	fences    fences
	changes   changes
	recent    recent
	expiring  changes       // of those that ExpiringChanges tells of
	unflushed atomic.Uint64 // cells written since the last flush began

	closing sync.Once
	closed  chan struct{} // ends watch
	wg      sync.WaitGroup
}

// Open opens the data directory, makes it if need be, and counts the boot. The
// error says what is wrong with the directory and what to do; ErrInUse tells one
// that another process has open. A directory that is not ours, or of another
// format, is left as it is.
func Open(opts Options) (*Store, error) {
	s, err := open(opts)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	return s, nil
}

func open(opts Options) (*Store, error) {
	if err := opts.complete(); err != nil {
		return nil, err
	}
	dir, err := openDirectory(opts.FS, opts.Dir, opts.Shards)
	if err != nil {
		return nil, err
	}
	s := &Store{opts: opts, log: opts.Logger, disk: newDisk(opts.FS), dir: dir, closed: make(chan struct{})}
	s.commits.init()
	if err := s.openDatabase(); err != nil {
		return nil, errors.Join(err, dir.close())
	}
	if err := dir.ready(); err != nil {
		return nil, errors.Join(err, s.closeDatabase(), dir.close())
	}
	s.changes.init(s.identity.Boot)
	s.expiring.init(s.identity.Boot)
	s.wg.Add(2)
	go s.commitAll()
	go s.watch()
	return s, nil
}

// openDatabase opens Pebble and reads what is not read on demand.
func (s *Store) openDatabase() error {
	ready := s.dir.format.State == stateReady
	// Pebble takes the memtables out of the cache: the one that is written, and the
	// one that is flushed or kept for reuse.
	cache := pebble.NewCache(s.opts.CacheBytes + 2*int64(s.opts.memTable))
	defer cache.Unref() // the database holds it
	var err error
	if ready {
		s.makePrivate()
		err = s.checkLog()
	} else {
		err = s.createDatabase(cache)
	}
	if err == nil {
		s.db, err = pebble.Open(s.dir.join(databaseName), s.pebbleOptions(cache, true))
	}
	if err == nil {
		err = s.load(ready)
	}
	if failed := s.disk.err(); failed != nil {
		err = failed // the first cause; Pebble has gone on with a frozen disk
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errLost), ready && errors.Is(err, pebble.ErrDBDoesNotExist):
		err = s.dir.lost()
	case pebble.IsCorruptionError(err), errors.Is(err, errDamaged):
		err = fmt.Errorf("data directory %s: the data is damaged; move it away and start with an empty directory as a new member: %w", s.dir.path, err)
	default:
		err = s.dir.explain("open the database of", err)
	}
	return errors.Join(err, s.closeDatabase())
}

// createDatabase makes an empty database and closes it. Pebble makes its first log
// before it goes up to the newest format, and nothing in that log says how far it
// was synced, so that damage would be taken for its end. Nothing is written to it.
//
// Pebble makes files that everybody may read, so their directory is the owner's
// alone. The data directory itself may have been made for us, with another mode.
func (s *Store) createDatabase(cache *pebble.Cache) error {
	path := s.dir.join(databaseName)
	err := errors.Join(s.disk.MkdirAll(path, databaseMode), s.disk.err())
	if err != nil {
		return err
	}
	db, err := pebble.Open(path, s.pebbleOptions(cache, false))
	if err == nil {
		err = db.Close()
	}
	return errors.Join(err, s.disk.err()) // the next Open shall not meet a frozen disk
}

// databaseMode lets nobody but its owner into the database's directory.
const databaseMode = 0o700

// makePrivate gives the directory of a database that an older build made that mode.
func (s *Store) makePrivate() {
	if s.opts.FS != vfs.Default {
		return // a test's, without modes
	}
	path := s.dir.join(databaseName)
	info, err := os.Stat(path)
	if err == nil && info.Mode().Perm()&^databaseMode != 0 {
		err = os.Chmod(path, databaseMode)
	}
	if err != nil {
		s.log.Warn("other users of this machine may be able to read what this member holds; give its database directory to the user that runs this process, with mode 0700", "error", err)
	}
}

// closeDatabase closes Pebble, if it was opened. Nobody uses it any more.
func (s *Store) closeDatabase() error {
	close(s.disk.closed)
	if s.db == nil {
		return nil
	}
	err := s.db.Close()
	s.db = nil
	if s.disk.frozen() {
		return nil // what Pebble says about a frozen disk is of no interest
	}
	return err
}

// load reads identity, marks and configurations, and counts the boot.
func (s *Store) load(ready bool) error {
	if err := s.loadIdentity(ready); err != nil {
		return err
	}
	if err := s.loadMarks(); err != nil {
		return err
	}
	if err := s.loadFences(); err != nil {
		return err
	}
	if err := s.loadChain(); err != nil {
		return err
	}
	if err := s.loadIndex(ready); err != nil {
		return err
	}
	s.identity.Boot++
	b := s.db.NewBatch()
	err := errors.Join(b.Set(identityKey, encodeIdentity(s.identity), nil), b.Set(indexKey, encodeIndex(s.identity.Boot), nil))
	if err != nil {
		return errors.Join(err, b.Close())
	}
	return s.apply(b)
}

func (s *Store) loadIdentity(ready bool) error {
	b, closer, err := s.db.Get(identityKey)
	switch {
	case errors.Is(err, pebble.ErrNotFound) && ready:
		return errLost
	case errors.Is(err, pebble.ErrNotFound):
		s.identity = Identity{Node: make([]byte, nodeBytes), Format: formatVersion}
		rand.Read(s.identity.Node) // never fails
		return nil
	case err != nil:
		return fmt.Errorf("read the identity: %w", err)
	}
	if s.identity, err = decodeIdentity(b); err != nil {
		err = fmt.Errorf("%w: %w", errDamaged, err)
	}
	return errors.Join(err, closer.Close())
}

// apply makes a batch durable. Whatever stops it fails the store.
func (s *Store) apply(b *pebble.Batch) error {
	if err := s.db.Apply(b, pebble.Sync); err != nil {
		s.disk.fail(fmt.Errorf("commit: %w", err))
	}
	if err := s.disk.err(); err != nil {
		return err // also where Apply said nil: a frozen disk takes everything
	}
	return b.Close()
}

// Identity returns who this member is. The bytes are the caller's.
func (s *Store) Identity() Identity {
	id := s.identity
	id.Node = bytes.Clone(id.Node)
	return id
}

// Shards returns the number of shards, which a data directory keeps for life.
func (s *Store) Shards() int { return s.dir.format.Shards }

// Shard returns the shard of a key: FNV-1a of 64 bits, its halves folded, modulo
// Shards. It is part of the data directory's format.
func (s *Store) Shard(key string) int { return ShardOf(key, s.dir.format.Shards) }

// ShardOf returns the shard of a key among a number of shards.
func ShardOf(key string, shards int) int {
	h := uint64(14695981039346656037)
	for i := range len(key) {
		h = (h ^ uint64(key[i])) * 1099511628211
	}
	return int((h ^ h>>32) % uint64(shards))
}

// Mark returns the durable mark of a shard; zero where none was written.
func (s *Store) Mark(shard int) register.Mark { return s.marks.get(shard) }

// Configuration returns the newest installed configuration. It must not be
// changed.
func (s *Store) Configuration() (*ring.Configuration, bool) { return s.chain.newest() }

// Failed returns why the store has failed, or nil.
func (s *Store) Failed() error { return s.disk.err() }

// Refuse makes the data directory one that Open answers with ErrRefused, until
// Discard or somebody else empties it. It is durable when it returns. The store
// stays open.
func (s *Store) Refuse() error {
	if err := s.dir.refuse(); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

// watch tells OnFail.
func (s *Store) watch() {
	defer s.wg.Done()
	select {
	case <-s.disk.failed:
	case <-s.closed:
		return
	}
	s.count("failures", 1)
	if s.opts.OnFail != nil {
		s.opts.OnFail(s.disk.err())
	}
}

// use lets the caller use db until release. It fails when the store is closed or
// has failed.
func (s *Store) use() error {
	s.usable.RLock()
	err := s.disk.err()
	if err == nil && s.db == nil {
		err = ErrClosed
	}
	if err != nil {
		s.usable.RUnlock()
	}
	return err
}

func (s *Store) release() { s.usable.RUnlock() }

// Close makes what was given to Commit durable, reports it, waits for reads that
// are under way and for OnFail, moves what the log holds into tables, and unlocks
// the directory. Where the store has failed it returns why. Later calls return nil.
func (s *Store) Close() error {
	var err error
	s.closing.Do(func() {
		if err = s.close(); err != nil {
			err = fmt.Errorf("store: close: %w", err)
		}
	})
	return err
}

func (s *Store) close() error {
	s.commits.close()
	close(s.closed)
	s.wg.Wait()
	s.usable.Lock() // after the last read
	defer s.usable.Unlock()
	if err := s.emptyLog(); err != nil {
		s.log.Warn("the disk did not take the log's content into a table; nothing is lost, it stays in the log", "error", err)
		return errors.Join(s.closeDatabase(), s.dir.close())
	}
	return errors.Join(s.closeDatabase(), s.disk.err(), s.dir.close())
}

// emptyLog moves what the log holds into a table, whose checksums tell any damage;
// in the last writes of a log it looks like a write that was cut short. It writes one
// memtable, or two. Where Pebble is behind with its work it does nothing,
// since it would have to wait for that, and a stop has a deadline.
func (s *Store) emptyLog() error {
	if s.opts.Memory || s.disk.frozen() {
		return nil
	}
	m := s.db.Metrics()
	if m.MemTable.Count > 2 || m.Levels[0].Sublevels >= stopWritesL0-1 {
		return nil
	}
	flushed, err := s.db.AsyncFlush()
	if err != nil {
		return err
	}
	select {
	case <-flushed:
	case <-s.disk.failed: // then Pebble may try for ever
	}
	return s.disk.err()
}
