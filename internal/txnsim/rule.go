//go:build !mutation

package txnsim

const blindIndex = false
