//go:build !mutation

package sim

func holds(rule) bool { return true }
