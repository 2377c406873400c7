package moving

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"time"

	"github.com/chord-plugin/chord-plugin/internal/jsontext"
)

// Our own format is lines of JSON: a head, an entry a line, and an end by which a
// file that was cut off is known.
const lineFormat = "chord-plugin/1"

type headLine struct {
	Format string `json:"format"`
}

type entryLine struct {
	Key string `json:"key"`
	// Value is in base64.
	Value []byte `json:"value"`
	Flags uint64 `json:"flags,omitempty"`
	// Expires is a duration such as 1m30s; without it the key is there for ever.
	Expires string `json:"expires,omitempty"`
}

type endLine struct {
	Keys int `json:"keys"`
	// SHA256 is that of all lines before, in hex.
	SHA256 string `json:"sha256"`
}

// anyLine is one of the three, by which of the first three fields it has.
type anyLine struct {
	Format  *string `json:"format"`
	Key     *string `json:"key"`
	Keys    *int    `json:"keys"`
	Value   *[]byte `json:"value"`
	Flags   uint64  `json:"flags"`
	Expires string  `json:"expires"`
	SHA256  string  `json:"sha256"`
}

// readLines reads our own format.
func readLines(path string, take take) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open the export: %w", err)
	}
	defer f.Close() // it was only read
	s := bufio.NewScanner(f)
	s.Buffer(nil, maxRecord)
	s.Split(wholeLines)
	r := lineReader{sum: sha256.New()}
	for n := 1; s.Scan(); n++ {
		e, err := r.line(s.Bytes())
		if err != nil {
			return fmt.Errorf("%s: line %d: %w", path, n, err)
		}
		if e != nil {
			if err := take(e); err != nil {
				return err
			}
		}
	}
	err = s.Err()
	if errors.Is(err, bufio.ErrTooLong) {
		err = errRecord
	}
	if err == nil && !r.ended {
		err = io.EOF
	}
	if err != nil {
		return cutOff(path, err)
	}
	return nil
}

// wholeLines splits behind every newline.
func wholeLines(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i+1], nil
	}
	if atEOF && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}

type lineReader struct {
	begun, ended bool
	keys         int
	sum          hash.Hash // of all lines so far
}

// line reads a line; the entry is nil for the head and the end.
func (r *lineReader) line(text []byte) (*Entry, error) {
	var l anyLine
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	err := d.Decode(&l)
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("it holds more than one object")
		}
	}
	switch {
	case !r.begun && (err != nil || l.Format == nil):
		return nil, fmt.Errorf(`it is not {"format":%q}, so this is not %s of chord-plugin export`, lineFormat, JSON)
	case !r.begun && *l.Format != lineFormat:
		return nil, fmt.Errorf("the format is %q, and this version reads %q", *l.Format, lineFormat)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, fmt.Errorf("it is cut off: %w", err)
	case err != nil:
		return nil, err
	case jsontext.Check(text) != nil:
		return nil, jsontext.Check(text)
	case r.ended:
		return nil, errors.New("it stands behind the end")
	}
	defer r.sum.Write(text)
	switch {
	case !r.begun:
		r.begun = true
		return nil, nil
	case l.Keys != nil && l.Key == nil:
		return nil, r.end(&l)
	case l.Key == nil || l.Value == nil || l.Format != nil || l.Keys != nil || l.SHA256 != "":
		return nil, errors.New("it is no entry, which has a key, a value in base64, and may have flags and expires")
	}
	r.keys++
	e := &Entry{Key: *l.Key, Value: *l.Value, Flags: l.Flags}
	if l.Expires != "" {
		if e.Expires, err = time.ParseDuration(l.Expires); err != nil || e.Expires <= 0 {
			return nil, fmt.Errorf("expires is %q; allowed is a duration such as 1m30s", l.Expires)
		}
	}
	return e, nil
}

func (r *lineReader) end(l *anyLine) error {
	r.ended = true
	if *l.Keys != r.keys {
		return fmt.Errorf("it says that there are %d keys, and there are %d", *l.Keys, r.keys)
	}
	if got := hex.EncodeToString(r.sum.Sum(nil)); l.SHA256 != "" && l.SHA256 != got {
		return fmt.Errorf("the lines before were changed: their SHA-256 is %s, and should be %s", got, l.SHA256)
	}
	return nil
}

// lineWriter writes our own format.
type lineWriter struct {
	w     *bufio.Writer
	sum   hash.Hash
	lines *json.Encoder
	keys  int
	begun bool
}

func newLineWriter(w io.Writer) writer {
	l := &lineWriter{w: bufio.NewWriter(w), sum: sha256.New()}
	l.lines = newEncoder(io.MultiWriter(l.w, l.sum))
	return l
}

func (l *lineWriter) begin() error {
	if l.begun {
		return nil
	}
	l.begun = true
	return l.lines.Encode(headLine{lineFormat})
}

func (l *lineWriter) put(e *Entry) error {
	if err := l.begin(); err != nil {
		return err
	}
	l.keys++
	line := entryLine{Key: e.Key, Value: e.Value, Flags: e.Flags}
	if line.Value == nil {
		line.Value = []byte{}
	}
	if e.Expires > 0 {
		line.Expires = e.Expires.String()
	}
	return l.lines.Encode(line)
}

func (l *lineWriter) end() error {
	if err := l.begin(); err != nil {
		return err
	}
	if err := l.lines.Encode(endLine{l.keys, hex.EncodeToString(l.sum.Sum(nil))}); err != nil {
		return err
	}
	return l.w.Flush()
}
