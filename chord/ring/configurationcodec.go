package ring

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// MaxEncodedConfiguration bounds the bytes of an encoded configuration. Every
// valid configuration, joint with MaxMembers on both sides, is smaller.
const MaxEncodedConfiguration = 2 << 20

// configurationFormat is the first byte of an encoded configuration. It changes
// when an older build could misread what follows.
const configurationFormat = 1

// Encode returns c as it is stored and sent: a format byte and JSON. Equal
// configurations have equal encodings. It does not ask whether c is valid.
func (c *Configuration) Encode() []byte {
	buf := bytes.NewBuffer([]byte{configurationFormat})
	e := json.NewEncoder(buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(c); err != nil {
		panic(fmt.Sprintf("ring: encoding a configuration: %v", err)) // no field of it can fail
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte{'\n'})
}

// DecodeConfiguration reads what Encode wrote of a valid configuration and
// nothing else: a byte over MaxEncodedConfiguration, another format, an unknown
// or doubled field, another spelling or anything that Validate refuses is an
// error.
func DecodeConfiguration(b []byte) (*Configuration, error) {
	switch {
	case len(b) == 0:
		return nil, fmt.Errorf("decode configuration: no bytes")
	case len(b) > MaxEncodedConfiguration:
		return nil, fmt.Errorf("decode configuration: %d bytes; allowed are %d", len(b), MaxEncodedConfiguration)
	case b[0] != configurationFormat:
		return nil, fmt.Errorf("decode configuration: format %d; this build reads format %d", b[0], configurationFormat)
	}
	d := json.NewDecoder(bytes.NewReader(b[1:]))
	d.DisallowUnknownFields()
	c := new(Configuration)
	if err := d.Decode(c); err != nil {
		return nil, fmt.Errorf("decode configuration: %w", err)
	}
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("decode configuration: %w", err)
	}
	if !bytes.Equal(c.Encode(), b) {
		return nil, fmt.Errorf("decode configuration: epoch %d of ring %s is not written as Encode writes it", c.Epoch, c.RingID)
	}
	return c, nil
}
