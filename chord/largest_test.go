//go:build !race

package chord

import "github.com/chord-plugin/chord-plugin/backend"

// largestValue is the limit of values in the conformance runs of many members.
const largestValue = backend.DefaultMaxValueSize
