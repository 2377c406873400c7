package frozen

import (
	"fmt"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// Breaks lists what programs that were built with was would notice about now: what
// was taken away, renamed, or has another number, type or way to stream. What now
// has beside that, and comments, break nothing.
func Breaks(was, now protoreflect.FileDescriptor) []string {
	c := &comparison{}
	c.same(was.Path(), "package", was.Package(), now.Package())
	c.messages(was.Messages(), now.Messages())
	c.enums(was.Enums(), now.Enums())
	for i := range was.Services().Len() {
		service := was.Services().Get(i)
		found := now.Services().ByName(service.Name())
		if c.found(service, found != nil) {
			c.methods(service.Methods(), found.Methods())
		}
	}
	return c.breaks
}

type comparison struct {
	breaks []string
}

func (c *comparison) add(format string, args ...any) {
	c.breaks = append(c.breaks, fmt.Sprintf(format, args...))
}

// found notes that something is gone, unless it is there.
func (c *comparison) found(what protoreflect.Descriptor, there bool) bool {
	if !there {
		c.add("%s is gone", what.FullName())
	}
	return there
}

// same notes that a property of something has changed, if it has.
func (c *comparison) same(what any, property string, was, now any) {
	if was != now {
		c.add("%v: the %s was %v and is %v", what, property, was, now)
	}
}

func (c *comparison) methods(was, now protoreflect.MethodDescriptors) {
	for i := range was.Len() {
		w := was.Get(i)
		n := now.ByName(w.Name())
		if !c.found(w, n != nil) {
			continue
		}
		c.same(w.FullName(), "request", w.Input().FullName(), n.Input().FullName())
		c.same(w.FullName(), "reply", w.Output().FullName(), n.Output().FullName())
		c.same(w.FullName(), "streaming of requests", w.IsStreamingClient(), n.IsStreamingClient())
		c.same(w.FullName(), "streaming of replies", w.IsStreamingServer(), n.IsStreamingServer())
	}
}

func (c *comparison) messages(was, now protoreflect.MessageDescriptors) {
	for i := range was.Len() {
		w := was.Get(i)
		n := now.ByName(w.Name())
		if !c.found(w, n != nil) {
			continue
		}
		c.fields(w.Fields(), n.Fields())
		for i := range n.Fields().Len() {
			field := n.Fields().Get(i)
			if w.ReservedRanges().Has(field.Number()) || w.ReservedNames().Has(field.Name()) {
				c.add("%s: number %d or its name was reserved", field.FullName(), field.Number())
			}
		}
		c.messages(w.Messages(), n.Messages())
		c.enums(w.Enums(), n.Enums())
	}
}

func (c *comparison) fields(was, now protoreflect.FieldDescriptors) {
	for i := range was.Len() {
		w := was.Get(i)
		n := now.ByNumber(w.Number())
		if n == nil {
			c.add("%s, number %d, is gone", w.FullName(), w.Number())
			continue
		}
		c.same(w.FullName(), "name", w.Name(), n.Name())
		c.same(w.FullName(), "name in JSON", w.JSONName(), n.JSONName())
		c.same(w.FullName(), "type", w.Kind(), n.Kind())
		c.same(w.FullName(), "type", typeName(w), typeName(n))
		c.same(w.FullName(), "label", w.Cardinality(), n.Cardinality())
		c.same(w.FullName(), "packing", w.IsPacked(), n.IsPacked())
		c.same(w.FullName(), "kind of collection", w.IsMap(), n.IsMap())
		if w.HasPresence() { // what has none may get it: absent was, and is, as empty
			c.same(w.FullName(), "presence", true, n.HasPresence())
		}
		c.same(w.FullName(), "oneof", oneofName(w), oneofName(n))
	}
}

func (c *comparison) enums(was, now protoreflect.EnumDescriptors) {
	for i := range was.Len() {
		w := was.Get(i)
		n := now.ByName(w.Name())
		if !c.found(w, n != nil) {
			continue
		}
		for i := range w.Values().Len() {
			value := w.Values().Get(i)
			if found := n.Values().ByName(value.Name()); c.found(value, found != nil) {
				c.same(value.FullName(), "number", value.Number(), found.Number())
			}
		}
	}
}

// typeName is the name of a field's message or enum, or empty.
func typeName(f protoreflect.FieldDescriptor) protoreflect.FullName {
	switch {
	case f.Message() != nil:
		return f.Message().FullName()
	case f.Enum() != nil:
		return f.Enum().FullName()
	}
	return ""
}

// oneofName is the name of the oneof that a field is part of, or empty. One that
// stands for optional is none.
func oneofName(f protoreflect.FieldDescriptor) protoreflect.Name {
	if o := f.ContainingOneof(); o != nil && !o.IsSynthetic() {
		return o.Name()
	}
	return ""
}
