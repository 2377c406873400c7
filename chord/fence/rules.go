//go:build !mutation

package fence

func holds(rule) bool { return true }
