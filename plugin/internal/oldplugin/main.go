// Command oldplugin is a plugin that shares no code with package plugin: it knows the
// protocol as it was when version 1 began, and keeps keys in a map. Its messages have
// fields of a version to come besides. Its arguments are the protocol versions that it
// announces.
package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/chord-plugin/chord-plugin/plugin/internal/frozen"
)

func main() {
	p, err := frozen.Load(frozen.First)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	s := &store{p: p, values: map[string]*dynamicpb.Message{}}
	versions := map[int]goplugin.PluginSet{}
	for _, arg := range os.Args[1:] {
		n, err := strconv.Atoi(arg)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		versions[n] = goplugin.PluginSet{"backend": &served{service: p.Service(s.answer)}}
	}
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig:  goplugin.HandshakeConfig{MagicCookieKey: "CHORD_PLUGIN", MagicCookieValue: "55d1f6de-ea7f-4f2b-a41b-a302bd94d8d9"},
		VersionedPlugins: versions,
		GRPCServer:       goplugin.DefaultGRPCServer,
	})
}

// served makes go-plugin serve a service.
type served struct {
	goplugin.NetRPCUnsupportedPlugin
	service *grpc.ServiceDesc
}

func (s *served) GRPCServer(_ *goplugin.GRPCBroker, server *grpc.Server) error {
	server.RegisterService(s.service, nil)
	return nil
}

func (*served) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, fmt.Errorf("this is a plugin and no host")
}

// store has the entry of each key, as the message that it is.
type store struct {
	p      *frozen.Protocol
	mu     sync.Mutex
	index  uint64
	values map[string]*dynamicpb.Message
}

// answer answers a call. It knows what the first version had, the operator's calls
// left out.
func (s *store) answer(_ context.Context, method protoreflect.MethodDescriptor, requests []*dynamicpb.Message) (replies []*dynamicpb.Message, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	request := requests[0]
	reply := dynamicpb.NewMessage(method.Output())
	key := ""
	if field := method.Input().Fields().ByName("key"); field != nil {
		key = string(request.Get(field).Bytes())
	}
	entry, exists := s.values[key]
	switch method.Name() {
	case "Configure":
		reply, err = frozen.Parse(method.Output(), `info { version: "old" protocol: 1 capabilities: "clairvoyance" ready: true } limits { max_key_size: 2048 max_value_size: 1000 }`)
	case "Info":
		reply, err = frozen.Parse(method.Output(), `version: "old" protocol: 1 capabilities: "clairvoyance"`)
	case "Close":
	case "Get", "Pop":
		if exists {
			set(reply, "entry", protoreflect.ValueOfMessage(proto.CloneOf(entry).ProtoReflect()))
		}
		if method.Name() == "Pop" {
			delete(s.values, key)
		}
	case "Put":
		if err = s.condition(request, key); err == nil {
			s.index++
			set(reply, "index", protoreflect.ValueOfUint64(s.index))
			s.values[key] = s.entry(request, entry)
		}
	case "Delete":
		if err = s.condition(request, key); err == nil {
			delete(s.values, key)
		}
	case "List":
		return s.list(method, string(get(request, "prefix").Bytes()))
	default:
		err = s.fail(codes.InvalidArgument, fmt.Sprintf("code: 1 message: %q", "there is no "+string(method.Name())))
	}
	if err != nil {
		return nil, err
	}
	frozen.AddFuture(reply)
	return []*dynamicpb.Message{reply}, nil
}

// entry is what a Put leaves, before being the entry of the key until then.
func (s *store) entry(request, before *dynamicpb.Message) *dynamicpb.Message {
	e := s.p.New("Entry")
	for _, name := range []protoreflect.Name{"key", "value", "flags"} {
		set(e, name, get(request, name))
	}
	set(e, "modify_index", protoreflect.ValueOfUint64(s.index))
	set(e, "create_index", protoreflect.ValueOfUint64(s.index))
	if before != nil {
		set(e, "create_index", get(before, "create_index"))
	}
	return e
}

// condition checks the index that a request may ask for.
func (s *store) condition(request *dynamicpb.Message, key string) error {
	field := request.Descriptor().Fields().ByName("if_index")
	if !request.Has(field) {
		return nil
	}
	var have uint64
	if e, ok := s.values[key]; ok {
		have = get(e, "modify_index").Uint()
	}
	if have == request.Get(field).Uint() {
		return nil
	}
	return s.fail(codes.FailedPrecondition, fmt.Sprintf("code: 3 key: %q message: %q", key, fmt.Sprintf("the index is %d", have)))
}

// list answers each name in a chunk of its own, and the end in one more.
func (s *store) list(method protoreflect.MethodDescriptor, prefix string) (chunks []*dynamicpb.Message, err error) {
	for _, key := range slices.Sorted(maps.Keys(s.values)) {
		if strings.HasPrefix(key, prefix) {
			chunk, err := frozen.Parse(method.Output(), fmt.Sprintf("items { name: %q }", key))
			if err != nil {
				return nil, err
			}
			chunks = append(chunks, chunk)
		}
	}
	end, err := frozen.Parse(method.Output(), fmt.Sprintf("last: true index: %d", s.index))
	chunks = append(chunks, end)
	for _, chunk := range chunks {
		frozen.AddFuture(chunk)
	}
	return chunks, err
}

// fail makes the status whose detail is the Error that text describes.
func (s *store) fail(code codes.Code, text string) error {
	detail, err := frozen.Parse(s.p.File.Messages().ByName("Error"), text)
	if err != nil {
		return err
	}
	frozen.AddFuture(detail)
	st, err := status.New(code, "see the detail").WithDetails(protoadapt.MessageV1Of(detail))
	if err != nil {
		return err
	}
	return st.Err()
}

func get(m *dynamicpb.Message, name protoreflect.Name) protoreflect.Value {
	return m.Get(m.Descriptor().Fields().ByName(name))
}

func set(m *dynamicpb.Message, name protoreflect.Name, v protoreflect.Value) {
	m.Set(m.Descriptor().Fields().ByName(name), v)
}
