package plugin

import (
	"errors"
	"fmt"
	"io"

	"github.com/chord-plugin/chord-plugin/backend"
)

const (
	// chunkSize is how many bytes of a long answer are collected before they are
	// sent. One item larger than that goes alone.
	chunkSize = 1 << 20
	// itemRoom is what an item needs beside its strings, in bytes, roughly.
	itemRoom = 64
)

// sizeOf is how many bytes an entry, which may be nil, takes in a chunk, roughly.
func sizeOf(e *backend.Entry) int {
	if e == nil {
		return 0
	}
	return len(e.Key) + len(e.Value) + len(e.Session) + itemRoom
}

// sendChunks cuts items, of which each takes so many bytes, into chunks and sends
// those. The last one may be empty.
func sendChunks[T any](items []T, size func(*T) int, send func(chunk []T, last bool) error) error {
	for {
		n, total := 0, 0
		for n < len(items) {
			total += size(&items[n])
			if n > 0 && total > chunkSize {
				break
			}
			n++
		}
		last := n == len(items)
		if err := send(items[:n], last); err != nil {
			return fmt.Errorf("plugin: send a chunk: %w", err)
		}
		if last {
			return nil
		}
		items = items[n:]
	}
}

// errCutShort is an answer whose last chunk never came.
var errCutShort = errors.New("plugin: the answer ended before its last chunk")

// receiveChunks hands the chunks of an answer to add.
func receiveChunks[C interface{ GetLast() bool }](receive func() (C, error), add func(C)) error {
	for last := false; ; {
		chunk, err := receive()
		switch {
		case err == io.EOF && last:
			return nil
		case err == io.EOF:
			return errCutShort
		case err != nil:
			return err
		case last:
			return errors.New("plugin: the answer went on after its last chunk")
		}
		add(chunk)
		last = chunk.GetLast()
	}
}
