//go:build !mutation

package register

func holds(rule) bool { return true }
