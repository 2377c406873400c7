//go:build !mutation

package txn

func holds(rule) bool { return true }
