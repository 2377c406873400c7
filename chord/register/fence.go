package register

// Fence is the right to write that comes with a lock: the lock's key, and the
// token of the holder. The zero value is none.
type Fence struct {
	Key   string
	Token uint64
}
