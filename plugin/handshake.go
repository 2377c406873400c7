package plugin

import (
	"context"
	"errors"
	"fmt"
	"os"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/chord-plugin/chord-plugin/plugin/proto"
)

// ProtocolVersion is the version of proto/backend.proto that this package
// speaks. A host and a plugin need one version in common. Calls and fields that are
// only added leave it as it is: what a plugin has of them its Info says.
const ProtocolVersion = 1

// Name is the name under which the backend is dispensed.
const Name = "backend"

// Handshake tells a plugin of ours from any other program. It keeps people from
// starting a plugin by hand; it is no secret and protects nothing.
var Handshake = goplugin.HandshakeConfig{
	ProtocolVersion:  ProtocolVersion,
	MagicCookieKey:   "CHORD_PLUGIN",
	MagicCookieValue: "55d1f6de-ea7f-4f2b-a41b-a302bd94d8d9",
}

// NotAPluginText is what a program prints that can only run as a plugin and was
// started by hand.
const NotAPluginText = `This program is a storage plugin. A host application starts it, through
github.com/hashicorp/go-plugin, and tells it what to store where; started by
hand it has nobody to serve. In a Go program, plugin.Open of
github.com/chord-plugin/chord-plugin/plugin starts and connects it.
`

// Launched reports whether a host has started this process as its plugin.
func Launched() bool {
	return os.Getenv(Handshake.MagicCookieKey) == Handshake.MagicCookieValue
}

const (
	// maxMessageSize is the largest gRPC message, in bytes, that either side
	// sends or accepts.
	maxMessageSize = 64 << 20
	// messageRoom is what a message needs beside the value that it carries: the
	// key, the numbers, the framing. A value larger than the difference cannot be
	// served.
	messageRoom = 1 << 20
	// maxCalls is how many calls of one host run at the same time; further ones
	// wait at the host.
	maxCalls = 4096
	// maxWatches is how many calls of Watch a client has at the same time, so that
	// there is room for others: these last, and each lock that is held has one.
	maxWatches = maxCalls / 2

	// streamWindow and connWindow are how many bytes of one call, and of all, may be
	// on their way before the other side has read any. gRPC itself would let them
	// grow up to 16 MiB, and to find out how far it would send a ping with almost
	// every message, each of which wakes both processes.
	streamWindow = 4 << 20
	connWindow   = 16 << 20
	// workers are the goroutines that carry out calls one after the other, so that
	// not each call begins with a stack that has to grow first. Calls that find all
	// of them at work get a goroutine of their own.
	workers = 64
)

// serverOptions are those of the plugin's side.
func serverOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(maxMessageSize),
		grpc.MaxSendMsgSize(maxMessageSize),
		grpc.MaxConcurrentStreams(maxCalls),
		grpc.InitialWindowSize(streamWindow),
		grpc.InitialConnWindowSize(connWindow),
		grpc.NumStreamWorkers(workers),
	}
}

// dialOptions are those of the host's side.
func dialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageSize), grpc.MaxCallSendMsgSize(maxMessageSize)),
		grpc.WithInitialWindowSize(streamWindow),
		grpc.WithInitialConnWindowSize(connWindow),
		// A connection that rests would look like one that broke.
		grpc.WithIdleTimeout(0),
	}
}

// pluginSet names what is served in each protocol version. The plugin's side
// has a service, the host's side none.
func pluginSet(s *service) map[int]goplugin.PluginSet {
	return map[int]goplugin.PluginSet{ProtocolVersion: {Name: &backendPlugin{service: s}}}
}

// backendPlugin connects go-plugin with the generated code.
type backendPlugin struct {
	goplugin.NetRPCUnsupportedPlugin
	service *service
}

// GRPCServer registers the service in the plugin's process.
func (p *backendPlugin) GRPCServer(_ *goplugin.GRPCBroker, server *grpc.Server) error {
	if p.service == nil {
		return errors.New("plugin: there is no service to register")
	}
	proto.RegisterBackendServer(server, p.service)
	return nil
}

// GRPCClient returns a *link in the host's process.
func (p *backendPlugin) GRPCClient(exited context.Context, _ *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	if conn == nil {
		return nil, fmt.Errorf("plugin: there is no connection to the plugin")
	}
	return &link{exited: exited, conn: conn}, nil
}

// link is the connection to a running plugin.
type link struct {
	// exited is done when the plugin's process has ended and was waited for.
	exited context.Context
	conn   *grpc.ClientConn
}
