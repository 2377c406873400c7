//go:build !mutation

package session

func holds(rule) bool { return true }
