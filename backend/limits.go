package backend

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits are the sizes that a backend accepts.
type Limits struct {
	// MaxKeySize is the largest key in bytes.
	MaxKeySize int
	// MaxValueSize is the largest value in bytes.
	MaxValueSize int
}

// The default limits.
const (
	DefaultMaxKeySize   = 2048
	DefaultMaxValueSize = 8 << 20
)

// DefaultLimits returns the limits that are in force when nothing is configured.
func DefaultLimits() Limits {
	return Limits{MaxKeySize: DefaultMaxKeySize, MaxValueSize: DefaultMaxValueSize}
}

// CheckKey returns an Invalid or TooLarge error unless key is UTF-8 of 1 to
// MaxKeySize bytes, without control characters and without a leading slash.
func (l Limits) CheckKey(key string) error {
	switch {
	case key == "":
		return Errorf(Invalid, "", "the key is empty; give a key of 1 to %d bytes", l.MaxKeySize)
	case len(key) > l.MaxKeySize:
		return Errorf(TooLarge, strings.ToValidUTF8(key[:min(32, len(key))], "")+"...", "the key has %d bytes and may have %d", len(key), l.MaxKeySize)
	case key[0] == '/':
		return Errorf(Invalid, key, "a key must not begin with '/'; leave the slash out")
	case !utf8.ValidString(key):
		return Errorf(Invalid, strings.ToValidUTF8(key, "\ufffd"), "a key must be valid UTF-8; encode binary keys, for example as hex")
	}
	for i, r := range key {
		if unicode.IsControl(r) {
			return Errorf(Invalid, key, "a key must not hold control characters; byte %d is %U", i, r)
		}
	}
	return nil
}

// CheckPrefix returns an error unless a key could begin with prefix. The empty
// prefix stands for all keys.
func (l Limits) CheckPrefix(prefix string) error {
	if prefix == "" {
		return nil
	}
	return l.CheckKey(prefix)
}

// CheckValue returns a TooLarge error when the value for key is over the limit.
// The text is what hosts look for.
func (l Limits) CheckValue(key string, value []byte) error {
	if len(value) > l.MaxValueSize {
		return Errorf(TooLarge, key, "put failed due to value being too large: it has %d bytes and max_value_size is %d; split it, or raise max_value_size on every member", len(value), l.MaxValueSize)
	}
	return nil
}

// CheckPut returns an error unless Put could carry it out.
func (l Limits) CheckPut(key string, value []byte, opts PutOptions) error {
	if err := l.CheckKey(key); err != nil {
		return err
	}
	if err := l.CheckValue(key, value); err != nil {
		return err
	}
	if err := checkLifetime(key, opts.ExpiresAfter); err != nil {
		return err
	}
	return l.CheckFence(key, opts.Fence)
}

// CheckDelete returns an error unless Delete could carry it out.
func (l Limits) CheckDelete(key string, opts DeleteOptions) error {
	if err := l.CheckKey(key); err != nil {
		return err
	}
	return l.CheckFence(key, opts.Fence)
}

// CheckList returns an error unless q can be answered.
func (l Limits) CheckList(q ListQuery) error {
	if err := l.CheckPrefix(q.Prefix); err != nil {
		return err
	}
	if len(q.After) > 2*l.MaxKeySize {
		return Errorf(TooLarge, "", "after has %d bytes and may have %d", len(q.After), 2*l.MaxKeySize)
	}
	if len(q.Separator) > l.MaxKeySize {
		return Errorf(TooLarge, "", "the separator has %d bytes and may have %d", len(q.Separator), l.MaxKeySize)
	}
	return nil
}
