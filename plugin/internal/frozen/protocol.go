// Package frozen is the plugin protocol as it once was, for the tests that a host
// and a plugin of different ages understand each other.
//
// A file of descriptors is made by
//
//	protoc --proto_path=plugin/proto --descriptor_set_out=/dev/stdout backend.proto |
//	protoc --decode=google.protobuf.FileDescriptorSet google/protobuf/descriptor.proto
//
// and never changes. When the protocol has grown another one is added.
package frozen

import (
	"embed"
	"fmt"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

const (
	// First is version 1 when it began: keys, listings and the operator's four
	// calls that read.
	First = "v1-first.txtpb"
	// V1 has watches, transactions, sessions, fences and expiry as well.
	V1 = "v1.txtpb"
)

//go:embed *.txtpb
var texts embed.FS

// Protocol is what a program knows that was built with a frozen copy.
type Protocol struct {
	// File is what backend.proto said.
	File protoreflect.FileDescriptor
	// Backend is the service in it.
	Backend protoreflect.ServiceDescriptor
}

// Load reads First or V1. Nothing of it is registered, so that it lives beside the
// generated code, which has the same names.
func Load(name string) (*Protocol, error) {
	set, err := Descriptors(name)
	if err != nil {
		return nil, err
	}
	file, err := protodesc.NewFile(set.GetFile()[0], new(protoregistry.Files))
	if err != nil {
		return nil, fmt.Errorf("frozen: %s: %w", name, err)
	}
	return &Protocol{File: file, Backend: file.Services().ByName("Backend")}, nil
}

// Descriptors reads First or V1 as it was written.
func Descriptors(name string) (*descriptorpb.FileDescriptorSet, error) {
	text, err := texts.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("frozen: %w", err)
	}
	set := &descriptorpb.FileDescriptorSet{}
	if err := prototext.Unmarshal(text, set); err != nil {
		return nil, fmt.Errorf("frozen: %s: %w", name, err)
	}
	return set, nil
}

// New returns an empty message.
func (p *Protocol) New(message protoreflect.Name) *dynamicpb.Message {
	return dynamicpb.NewMessage(p.File.Messages().ByName(message))
}

// Parse returns the message that text, in protobuf's text format, describes.
func Parse(d protoreflect.MessageDescriptor, text string) (*dynamicpb.Message, error) {
	m := dynamicpb.NewMessage(d)
	if err := prototext.Unmarshal([]byte(text), m); err != nil {
		return nil, fmt.Errorf("frozen: a %s of %q: %w", d.Name(), text, err)
	}
	return m, nil
}

// futureField is the number of a field that no version has.
const futureField = 18_999

// AddFuture gives a message, and those in it, a field of a version to come.
func AddFuture(m protoreflect.Message) {
	each(m, func(m protoreflect.Message) {
		future := protowire.AppendTag(m.GetUnknown(), futureField, protowire.BytesType)
		m.SetUnknown(protowire.AppendString(future, "not known yet"))
	})
}

// Forget removes from a message, and from those in it, what its version does not
// know, and reports whether there was something.
func Forget(m protoreflect.Message) (forgot bool) {
	each(m, func(m protoreflect.Message) {
		forgot = forgot || len(m.GetUnknown()) > 0
		m.SetUnknown(nil)
	})
	return forgot
}

// each hands m and the messages in it to f.
func each(m protoreflect.Message, f func(protoreflect.Message)) {
	f(m)
	m.Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case field.Message() == nil || field.IsMap():
		case field.IsList():
			for i := range v.List().Len() {
				each(v.List().Get(i).Message(), f)
			}
		default:
			each(v.Message(), f)
		}
		return true
	})
}
