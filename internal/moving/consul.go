package moving

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"
)

// consulEntry is a key as "consul kv export" writes it. The namespace and the
// partition are those of Consul Enterprise.
type consulEntry struct {
	Key       string      `json:"key"`
	Flags     uint64      `json:"flags"`
	Value     consulValue `json:"value"`
	Namespace string      `json:"namespace,omitempty"`
	Partition string      `json:"partition,omitempty"`
}

// consulValue is nil only where there is no value: Consul writes an empty one as ""
// or null.
type consulValue []byte

// UnmarshalJSON implements json.Unmarshaler.
func (v *consulValue) UnmarshalJSON(text []byte) error {
	err := json.Unmarshal(text, (*[]byte)(v))
	if *v == nil {
		*v = consulValue{}
	}
	return err
}

// place says where in Consul a key was.
func (e *consulEntry) place() string {
	named := func(name string) string {
		if name == "" {
			return "default"
		}
		return name
	}
	return fmt.Sprintf("partition %q, namespace %q", named(e.Partition), named(e.Namespace))
}

// bounded ends with errRecord when more than maxRecord bytes are read without a
// reset. The decoder reads ahead, so a record may be twice as large.
type bounded struct {
	r    io.Reader
	read int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.read > maxRecord {
		return 0, errRecord
	}
	n, err := b.r.Read(p[:min(len(p), maxRecord+1-b.read)])
	b.read += n
	return n, err
}

// readConsul reads what "consul kv export" prints: an array of objects.
func readConsul(path string, take take) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open the export of Consul: %w", err)
	}
	defer f.Close() // it was only read
	limited := &bounded{r: f}
	d := json.NewDecoder(limited)
	switch first, err := d.Token(); {
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%s is empty", path)
	case err != nil:
		return notConsul(path, err)
	case first != json.Delim('['):
		return notConsul(path, errors.New("it does not begin with ["))
	}
	place := ""
	for d.More() {
		var e consulEntry
		if err := d.Decode(&e); err != nil {
			return notConsul(path, err)
		}
		limited.read = 0
		switch {
		case e.Key == "":
			return notConsul(path, errors.New("an object has no key"))
		case e.Value == nil:
			return notConsul(path, fmt.Errorf("key %q has no value", e.Key))
		case strings.ContainsRune(e.Key, utf8.RuneError):
			return fmt.Errorf("%s: key %q holds U+FFFD, which Consul writes for bytes that are no UTF-8, so its name is lost; rename it in Consul", path, e.Key)
		case place == "":
			place = e.place()
		case place != e.place():
			return fmt.Errorf("%s: key %q is in %s, and those before it in %s; export each by itself, and import it with a -prefix of its own", path, e.Key, e.place(), place)
		}
		if err := take(&Entry{Key: e.Key, Value: e.Value, Flags: e.Flags}); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil { // the closing bracket
		return notConsul(path, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return notConsul(path, errors.New("something stands behind the array"))
	}
	return nil
}

func notConsul(path string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, errRecord) || errors.As(err, new(*os.PathError)) {
		return cutOff(path, err)
	}
	return fmt.Errorf("%s is not what consul kv export prints, an array of objects with key, flags and value: %w", path, err)
}

// consulWriter writes what "consul kv import" reads.
type consulWriter struct {
	w     *bufio.Writer
	lines *json.Encoder
	begun bool
}

func newConsulWriter(w io.Writer) writer {
	buffered := bufio.NewWriter(w)
	return &consulWriter{w: buffered, lines: newEncoder(buffered)}
}

// newEncoder writes JSON as it is, without caring for HTML.
func newEncoder(w io.Writer) *json.Encoder {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e
}

func (c *consulWriter) put(e *Entry) error {
	before := ","
	if !c.begun {
		before, c.begun = "[\n", true
	}
	if _, err := c.w.WriteString(before); err != nil {
		return err
	}
	value := e.Value
	if value == nil {
		value = []byte{}
	}
	return c.lines.Encode(consulEntry{Key: e.Key, Flags: e.Flags, Value: value})
}

func (c *consulWriter) end() error {
	text := "]\n"
	if !c.begun {
		text = "[]\n"
	}
	if _, err := c.w.WriteString(text); err != nil {
		return err
	}
	return c.w.Flush()
}
