package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// The echo: the least that a plugin can do. It takes a message of bytes and answers
// with one, over go-plugin with its defaults, which both sides leave as they are.

const (
	echoName    = "echo"
	echoService = "chordplugin.bench.Echo"
	// indexSize is the answer to a write, in bytes: as large as an index.
	indexSize = 8
)

var echoHandshake = goplugin.HandshakeConfig{
	ProtocolVersion: 1, MagicCookieKey: "CHORD_BENCH_ECHO", MagicCookieValue: "0fdbb6a9-43e4-4b6a-9b0e-1f6b1f9c7f0e",
}

// echoLaunched reports whether this process was started as the echo.
func echoLaunched() bool {
	return os.Getenv(echoHandshake.MagicCookieKey) == echoHandshake.MagicCookieValue
}

// serveEcho is the main function of the echo.
func serveEcho() {
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: echoHandshake,
		Plugins:         goplugin.PluginSet{echoName: &echoPlugin{}},
		Logger:          hclog.New(&hclog.LoggerOptions{Level: hclog.Error, Output: os.Stderr, JSONFormat: true}),
		GRPCServer:      goplugin.DefaultGRPCServer,
	})
}

// echoing answers a Put with as much as an index, and a Get with what was put last.
type echoing struct {
	last  atomic.Pointer[[]byte]
	index [indexSize]byte
}

func (e *echoing) put(in *wrapperspb.BytesValue) *wrapperspb.BytesValue {
	value := in.GetValue()
	e.last.Store(&value)
	return wrapperspb.Bytes(e.index[:])
}

func (e *echoing) get(*wrapperspb.BytesValue) *wrapperspb.BytesValue {
	return wrapperspb.Bytes(*e.last.Load())
}

// echoPlugin connects go-plugin with the echo.
type echoPlugin struct {
	goplugin.NetRPCUnsupportedPlugin
}

func (*echoPlugin) GRPCServer(_ *goplugin.GRPCBroker, server *grpc.Server) error {
	e := &echoing{}
	e.last.Store(&[]byte{})
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: echoService, HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{echoMethod("Get", e.get), echoMethod("Put", e.put)},
	}, e)
	return nil
}

func echoMethod(name string, answer func(*wrapperspb.BytesValue) *wrapperspb.BytesValue) grpc.MethodDesc {
	return grpc.MethodDesc{MethodName: name, Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		in := &wrapperspb.BytesValue{}
		if err := decode(in); err != nil {
			return nil, err
		}
		return answer(in), nil
	}}
}

func (*echoPlugin) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}

// openEcho starts this program again as the echo.
func openEcho() (_ *target, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self)
	client := goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig:  echoHandshake,
		Plugins:          goplugin.PluginSet{echoName: &echoPlugin{}},
		Cmd:              cmd,
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		AutoMTLS:         true,
		SkipHostEnv:      true,
		Logger:           hclog.NewNullLogger(),
	})
	defer func() {
		if err != nil {
			client.Kill()
		}
	}()
	protocol, err := client.Client()
	if err != nil {
		return nil, fmt.Errorf("start the echo: %w", err)
	}
	raw, err := protocol.Dispense(echoName)
	if err != nil {
		return nil, fmt.Errorf("connect to the echo: %w", err)
	}
	conn, ok := raw.(*grpc.ClientConn)
	if !ok {
		return nil, errors.New("the echo is no connection")
	}
	call := func(ctx context.Context, method string, in []byte) ([]byte, error) {
		out := &wrapperspb.BytesValue{}
		err := conn.Invoke(ctx, "/"+echoService+"/"+method, wrapperspb.Bytes(in), out)
		return out.GetValue(), err
	}
	return &target{
		name: "echo", pids: []int{cmd.Process.Pid},
		get: func(ctx context.Context, key string) ([]byte, error) { return call(ctx, "Get", []byte(key)) },
		put: func(ctx context.Context, _ string, value []byte) error {
			_, err := call(ctx, "Put", value)
			return err
		},
		close: func() error {
			client.Kill()
			return nil
		},
	}, nil
}
