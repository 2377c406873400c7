package frozen

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	pluginproto "github.com/chord-plugin/chord-plugin/plugin/proto"
)

// What was written for an older version of the protocol runs with today's.
func TestTodayBreaksNothing(t *testing.T) {
	today := pluginproto.File_backend_proto
	for _, name := range []string{First, V1} {
		p, err := Load(name)
		require.NoError(t, err)
		require.Greater(t, p.Backend.Methods().Len(), 10)
		require.Empty(t, Breaks(p.File, today), name)
	}
	// The reverse is no promise, and shows that the first version had less.
	first, err := Load(First)
	require.NoError(t, err)
	require.Contains(t, Breaks(today, first.File), "chordplugin.v1.Backend.Watch is gone")
}

type (
	file    = descriptorpb.FileDescriptorProto
	message = descriptorpb.DescriptorProto
	field   = descriptorpb.FieldDescriptorProto
	method  = descriptorpb.MethodDescriptorProto
)

// old is the newest frozen copy, with an enum, a oneof and reserved numbers, which it
// has none of.
func old(t *testing.T) *file {
	t.Helper()
	set, err := Descriptors(V1)
	require.NoError(t, err)
	f := set.GetFile()[0]
	enum := func(name, value string) *descriptorpb.EnumDescriptorProto {
		return &descriptorpb.EnumDescriptorProto{Name: &name, Value: []*descriptorpb.EnumValueDescriptorProto{
			{Name: proto.String(value + "_NONE"), Number: proto.Int32(0)}, {Name: proto.String(value + "_ONE"), Number: proto.Int32(1)},
		}}
	}
	f.EnumType = append(f.EnumType, enum("Outer", "OUTER"))
	fence := messageOf(f, "Fence")
	fence.EnumType = append(fence.EnumType, enum("Inner", "INNER"))
	fence.OneofDecl = []*descriptorpb.OneofDescriptorProto{{Name: proto.String("either")}}
	fence.Field = append(fence.Field,
		&field{Name: proto.String("a"), JsonName: proto.String("a"), Number: proto.Int32(3), OneofIndex: proto.Int32(0), Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(), Type: descriptorpb.FieldDescriptorProto_TYPE_BOOL.Enum()},
		&field{Name: proto.String("b"), JsonName: proto.String("b"), Number: proto.Int32(4), OneofIndex: proto.Int32(0), Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(), Type: descriptorpb.FieldDescriptorProto_TYPE_BOOL.Enum()},
		&field{Name: proto.String("numbers"), JsonName: proto.String("numbers"), Number: proto.Int32(5), Label: descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum(), Type: descriptorpb.FieldDescriptorProto_TYPE_UINT32.Enum()},
		&field{Name: proto.String("inner"), JsonName: proto.String("inner"), Number: proto.Int32(6), Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(), Type: descriptorpb.FieldDescriptorProto_TYPE_ENUM.Enum(), TypeName: proto.String(".chordplugin.v1.Fence.Inner")},
	)
	fence.ReservedRange = []*descriptorpb.DescriptorProto_ReservedRange{{Start: proto.Int32(20), End: proto.Int32(22)}}
	fence.ReservedName = []string{"former"}
	return f
}

func messageOf(f *file, name string) *message {
	return f.MessageType[slices.IndexFunc(f.MessageType, func(m *message) bool { return m.GetName() == name })]
}

func fieldOf(f *file, in, name string) *field {
	m := messageOf(f, in)
	return m.Field[slices.IndexFunc(m.Field, func(x *field) bool { return x.GetName() == name })]
}

func methodOf(f *file, name string) *method {
	methods := f.Service[0].Method
	return methods[slices.IndexFunc(methods, func(m *method) bool { return m.GetName() == name })]
}

func remove[T interface{ GetName() string }](list []T, name string) []T {
	return slices.DeleteFunc(slices.Clone(list), func(x T) bool { return x.GetName() == name })
}

func build(t *testing.T, f *file) protoreflect.FileDescriptor {
	t.Helper()
	d, err := protodesc.NewFile(f, new(protoregistry.Files))
	require.NoError(t, err)
	return d
}

// Each kind of change is noticed, and named.
func TestBreaks(t *testing.T) {
	const p = "chordplugin.v1."
	for name, test := range map[string]struct {
		change func(f *file)
		want   []string
	}{
		"nothing":          {func(*file) {}, nil},
		"message is gone":  {func(f *file) { f.MessageType = remove(f.MessageType, "Error") }, []string{p + "Error is gone"}},
		"field is gone":    {func(f *file) { m := messageOf(f, "PutRequest"); m.Field = remove(m.Field, "flags") }, []string{p + "PutRequest.flags, number 3, is gone"}},
		"field is renamed": {func(f *file) { fieldOf(f, "PutRequest", "flags").Name = proto.String("bits") }, []string{p + "PutRequest.flags: the name was flags and is bits"}},
		"field is renamed in JSON": {func(f *file) { fieldOf(f, "PutRequest", "flags").JsonName = proto.String("bits") },
			[]string{p + "PutRequest.flags: the name in JSON was flags and is bits"}},
		"field has another number": {func(f *file) { fieldOf(f, "PutRequest", "flags").Number = proto.Int32(99) }, []string{p + "PutRequest.flags, number 3, is gone"}},
		"fields swap numbers": {func(f *file) {
			fieldOf(f, "Limits", "max_key_size").Number, fieldOf(f, "Limits", "max_value_size").Number = proto.Int32(2), proto.Int32(1)
		}, []string{
			p + "Limits.max_key_size: the name was max_key_size and is max_value_size", p + "Limits.max_key_size: the name in JSON was maxKeySize and is maxValueSize",
			p + "Limits.max_value_size: the name was max_value_size and is max_key_size", p + "Limits.max_value_size: the name in JSON was maxValueSize and is maxKeySize",
		}},
		"field has another type": {func(f *file) {
			fieldOf(f, "GetRequest", "key").Type = descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum()
		}, []string{p + "GetRequest.key: the type was bytes and is string"}},
		"field has another encoding": {func(f *file) {
			fieldOf(f, "Entry", "expires_after_ns").Type = descriptorpb.FieldDescriptorProto_TYPE_SINT64.Enum()
		}, []string{p + "Entry.expires_after_ns: the type was int64 and is sint64"}},
		"field has another message": {func(f *file) { fieldOf(f, "GetReply", "entry").TypeName = proto.String("." + p + "ListItem") },
			[]string{p + "GetReply.entry: the type was " + p + "Entry and is " + p + "ListItem"}},
		"field has another enum": {func(f *file) { fieldOf(f, "Fence", "inner").TypeName = proto.String("." + p + "Outer") },
			[]string{p + "Fence.inner: the type was " + p + "Fence.Inner and is " + p + "Outer"}},
		"field is repeated": {func(f *file) {
			fieldOf(f, "GetRequest", "key").Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
		}, []string{p + "GetRequest.key: the label was optional and is repeated"}},
		"field is unpacked": {func(f *file) {
			fieldOf(f, "Fence", "numbers").Options = &descriptorpb.FieldOptions{Packed: proto.Bool(false)}
		}, []string{p + "Fence.numbers: the packing was true and is false"}},
		"field is a list and no map": {func(f *file) {
			messageOf(f, "ConfigureRequest").NestedType[0].Options = nil
		}, []string{p + "ConfigureRequest.config: the kind of collection was true and is false"}},
		"field has no presence": {func(f *file) {
			m := messageOf(f, "DeleteRequest")
			x := fieldOf(f, "DeleteRequest", "if_index")
			x.Proto3Optional, x.OneofIndex, m.OneofDecl = nil, nil, nil
		}, []string{p + "DeleteRequest.if_index: the presence was true and is false"}},
		"field may have presence": {func(f *file) {
			m := messageOf(f, "Limits")
			m.OneofDecl = []*descriptorpb.OneofDescriptorProto{{Name: proto.String("_max_key_size")}}
			x := fieldOf(f, "Limits", "max_key_size")
			x.Proto3Optional, x.OneofIndex = proto.Bool(true), proto.Int32(0)
		}, nil},
		"field joins a oneof": {func(f *file) { fieldOf(f, "Fence", "token").OneofIndex = proto.Int32(0) },
			[]string{p + "Fence.token: the oneof was  and is either"}},
		"oneof is gone": {func(f *file) {
			fieldOf(f, "Fence", "a").OneofIndex, fieldOf(f, "Fence", "b").OneofIndex = nil, nil
			messageOf(f, "Fence").OneofDecl = nil
		}, []string{
			p + "Fence.a: the presence was true and is false", p + "Fence.a: the oneof was either and is ",
			p + "Fence.b: the presence was true and is false", p + "Fence.b: the oneof was either and is ",
		}},
		"nested type is gone": {func(f *file) {
			fieldOf(f, "ConfigureRequest", "config").TypeName = proto.String("." + p + "Fence")
			messageOf(f, "ConfigureRequest").NestedType = nil
		}, []string{
			p + "ConfigureRequest.config: the type was " + p + "ConfigureRequest.ConfigEntry and is " + p + "Fence",
			p + "ConfigureRequest.config: the kind of collection was true and is false", p + "ConfigureRequest.ConfigEntry is gone",
		}},
		"number was reserved": {func(f *file) {
			m := messageOf(f, "Fence")
			m.ReservedRange = nil
			m.Field = append(m.Field, added("late", 21))
		}, []string{p + "Fence.late: number 21 or its name was reserved"}},
		"name was reserved": {func(f *file) {
			m := messageOf(f, "Fence")
			m.ReservedName = nil
			m.Field = append(m.Field, added("former", 30))
		}, []string{p + "Fence.former: number 30 or its name was reserved"}},
		"enum is gone":       {func(f *file) { f.EnumType = nil }, []string{p + "Outer is gone"}},
		"enum value is gone": {func(f *file) { e := messageOf(f, "Fence").EnumType[0]; e.Value = e.Value[:1] }, []string{p + "Fence.INNER_ONE is gone"}},
		"enum value is renamed": {func(f *file) { f.EnumType[0].Value[1].Name = proto.String("OUTER_UNO") },
			[]string{p + "OUTER_ONE is gone"}},
		"enum value has another number": {func(f *file) { f.EnumType[0].Value[1].Number = proto.Int32(7) },
			[]string{p + "OUTER_ONE: the number was 1 and is 7"}},
		"service is gone":    {func(f *file) { f.Service = nil }, []string{p + "Backend is gone"}},
		"service is renamed": {func(f *file) { f.Service[0].Name = proto.String("Store") }, []string{p + "Backend is gone"}},
		"method is gone":     {func(f *file) { f.Service[0].Method = remove(f.Service[0].Method, "Pop") }, []string{p + "Backend.Pop is gone"}},
		"method is renamed":  {func(f *file) { methodOf(f, "Pop").Name = proto.String("Take") }, []string{p + "Backend.Pop is gone"}},
		"method has another request": {func(f *file) { methodOf(f, "Pop").InputType = proto.String("." + p + "PopItemRequest") },
			[]string{p + "Backend.Pop: the request was " + p + "PopRequest and is " + p + "PopItemRequest"}},
		"method has another reply": {func(f *file) { methodOf(f, "Pop").OutputType = proto.String("." + p + "GetReply") },
			[]string{p + "Backend.Pop: the reply was " + p + "PopReply and is " + p + "GetReply"}},
		"method streams requests": {func(f *file) { methodOf(f, "List").ClientStreaming = proto.Bool(true) },
			[]string{p + "Backend.List: the streaming of requests was false and is true"}},
		"method streams no replies": {func(f *file) { methodOf(f, "List").ServerStreaming = nil },
			[]string{p + "Backend.List: the streaming of replies was true and is false"}},
		"all is added that may be": {func(f *file) {
			f.MessageType = append(f.MessageType, &message{Name: proto.String("Added"), Field: []*field{added("x", 1)}})
			for _, m := range f.MessageType {
				if m.GetName() != "Added" {
					m.Field = append(m.Field, added("added", 1000))
				}
			}
			f.EnumType[0].Value = append(f.EnumType[0].Value, &descriptorpb.EnumValueDescriptorProto{Name: proto.String("OUTER_TWO"), Number: proto.Int32(2)})
			f.Service[0].Method = append(f.Service[0].Method, &method{Name: proto.String("Add"), InputType: proto.String("." + p + "Added"), OutputType: proto.String("." + p + "Added")})
			f.Service = append(f.Service, &descriptorpb.ServiceDescriptorProto{Name: proto.String("More")})
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			was, now := old(t), old(t)
			test.change(now)
			require.Equal(t, test.want, Breaks(build(t, was), build(t, now)))
		})
	}
	// Another package is another protocol; the names in it differ altogether.
	now := old(t)
	now.Package = proto.String("chordplugin.v2")
	now.MessageType, now.EnumType, now.Service = nil, nil, nil
	require.Equal(t, "backend.proto: the package was chordplugin.v1 and is chordplugin.v2", Breaks(build(t, old(t)), build(t, now))[0])
}

func added(name string, number int32) *field {
	return &field{Name: &name, JsonName: &name, Number: &number, Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(), Type: descriptorpb.FieldDescriptorProto_TYPE_UINT64.Enum()}
}
