package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"
)

// Pebble takes what is not as it was written in the newest log for the log's end,
// where a crash cut a write short, unless a chunk in a later block says that the log
// was synced beyond. It does not look at the chunks that follow in the same block,
// of 32 KiB, which say the same; so that is done here, before it opens the log. What
// is left is the last write, or two: nothing after them tells.
//
// The layout is that of Pebble's package record, from FormatWALSyncChunks on.

const (
	logSuffix   = ".log"
	logBlock    = 32 << 10
	chunkHeader = 19 // checksum 4, length 2, type 1, log 4, synced up to 8; little-endian
	// The types of chunks that say up to where the log was synced.
	firstSyncChunk = 9
	lastSyncChunk  = 12
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checkLog fails with errDamaged where the newest log is damaged and tells it.
func (s *Store) checkLog() error {
	path := s.dir.join(databaseName)
	names, err := s.disk.List(path)
	if err != nil {
		return err
	}
	newest, name := uint64(0), ""
	for _, n := range names {
		digits, isLog := strings.CutSuffix(n, logSuffix)
		if number, err := strconv.ParseUint(digits, 10, 64); isLog && err == nil && number >= newest {
			newest, name = number, n
		}
	}
	if name == "" {
		return nil
	}
	f, err := s.disk.Open(s.dir.fs.PathJoin(path, name))
	if err != nil {
		return err
	}
	block := make([]byte, logBlock)
	for at := uint64(0); err == nil; at += logBlock {
		var n int
		n, err = io.ReadFull(f, block)
		if gap := damaged(block[:n], at, uint32(newest)); gap >= 0 {
			err = fmt.Errorf("%w: %s at %d", errDamaged, name, at+uint64(gap))
		}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return errors.Join(err, f.Close())
}

// damaged returns where in a block, which begins at an offset of its log, something
// is not as it was written though a chunk behind it says that it was synced; or -1.
func damaged(block []byte, at uint64, log uint32) int {
	gap := -1 // where no chunk begins though one should
	number := binary.LittleEndian.AppendUint32(nil, log)
	for i := 0; i+chunkHeader <= len(block); {
		length, synced, ok := chunk(block[i:], log)
		switch {
		case ok && gap >= 0 && synced > at+uint64(gap):
			return gap
		case ok:
			i += chunkHeader + length
		default:
			if gap < 0 {
				gap = i
			}
			// What is there may be long, what a log held that is used again.
			next := bytes.Index(block[i+8:], number) // in the header at i+1, or later
			if next < 0 {
				return -1
			}
			i += 1 + next
		}
	}
	return -1
}

// chunk reads the header of the chunk with which b begins, if one of that log does.
func chunk(b []byte, log uint32) (length int, synced uint64, ok bool) {
	length = int(binary.LittleEndian.Uint16(b[4:]))
	if b[6] < firstSyncChunk || b[6] > lastSyncChunk || binary.LittleEndian.Uint32(b[7:]) != log || chunkHeader+length > len(b) {
		return 0, 0, false
	}
	sum := crc32.Checksum(b[6:chunkHeader+length], castagnoli)
	return length, binary.LittleEndian.Uint64(b[11:]), binary.LittleEndian.Uint32(b) == sum>>15|sum<<17+0xa282ead8
}
