package kernel

import "sync"

// EachSeed runs count seeds from first on, two at a time, and hands each one's
// result to done, one at a time.
func EachSeed[R any](first, count uint64, run func(seed uint64) (R, error), done func(seed uint64, res R, err error)) {
	var mu sync.Mutex
	next := first
	var workers sync.WaitGroup
	for range 2 {
		workers.Go(func() {
			mu.Lock()
			defer mu.Unlock()
			for next < first+count {
				seed := next
				next++
				mu.Unlock()
				res, err := run(seed)
				mu.Lock()
				done(seed, res, err)
			}
		})
	}
	workers.Wait()
}
