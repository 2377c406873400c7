// Package jsontext looks at JSON texts for what encoding/json passes over in silence.
package jsontext

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Check returns an error if a JSON text holds what encoding/json silently reads as
// U+FFFD: bytes that are not UTF-8, and halves of surrogate pairs (RFC 8259, section
// 8.2). The text must have been decoded without an error before.
func Check(text []byte) error {
	if !utf8.Valid(text) {
		return errors.New("it is not UTF-8")
	}
	for {
		i := bytes.IndexByte(text, '\\')
		if i < 0 {
			return nil
		}
		text = text[i:]
		switch unit := escaped(text); {
		case unit < 0: // another escape, of two bytes
			text = text[min(2, len(text)):]
		case !utf16.IsSurrogate(unit):
			text = text[6:]
		case utf16.DecodeRune(unit, escaped(text[6:])) != utf8.RuneError:
			text = text[12:]
		default:
			return fmt.Errorf("%s is half of a character", text[:6])
		}
	}
}

// escaped returns the code unit that a text such as \u00e9 begins with, or -1.
func escaped(text []byte) rune {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return -1
	}
	unit, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return rune(unit)
}
