package frozen

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// Call makes one call, whichever way its messages stream: all requests go, then all
// replies come. When it fails, the replies are those before the failure.
func Call(ctx context.Context, conn grpc.ClientConnInterface, method protoreflect.MethodDescriptor, requests ...*dynamicpb.Message) ([]*dynamicpb.Message, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends a stream that was not read to its end
	// What a unary call sends and gets looks no different.
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, path(method))
	if err != nil {
		return nil, err
	}
	for _, m := range requests {
		// After an early answer the stream is at its end, and the answer to be read.
		if err := stream.SendMsg(m); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
	}
	if err := stream.CloseSend(); err != nil {
		return nil, err
	}
	var replies []*dynamicpb.Message
	for {
		m := dynamicpb.NewMessage(method.Output())
		err := stream.RecvMsg(m)
		if errors.Is(err, io.EOF) {
			return replies, nil
		}
		if err != nil {
			return replies, err
		}
		replies = append(replies, m)
	}
}

// Handler answers one call: replies are sent also when it fails.
type Handler func(ctx context.Context, method protoreflect.MethodDescriptor, requests []*dynamicpb.Message) (replies []*dynamicpb.Message, err error)

// Service is a gRPC service that has the methods that p knows, and no others. It
// reads all requests of a call, then sends all replies.
func (p *Protocol) Service(handle Handler) *grpc.ServiceDesc {
	desc := &grpc.ServiceDesc{ServiceName: string(p.Backend.FullName()), HandlerType: (*any)(nil)}
	for i := range p.Backend.Methods().Len() {
		method := p.Backend.Methods().Get(i)
		desc.Streams = append(desc.Streams, grpc.StreamDesc{
			StreamName: string(method.Name()), ClientStreams: true, ServerStreams: true,
			Handler: func(_ any, stream grpc.ServerStream) error { return serve(stream, method, handle) },
		})
	}
	return desc
}

func serve(stream grpc.ServerStream, method protoreflect.MethodDescriptor, handle Handler) error {
	var requests []*dynamicpb.Message
	for {
		m := dynamicpb.NewMessage(method.Input())
		err := stream.RecvMsg(m)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		requests = append(requests, m)
	}
	replies, err := handle(stream.Context(), method, requests)
	for _, m := range replies {
		if err := stream.SendMsg(m); err != nil {
			return err
		}
	}
	return err
}

// Between is a service that stands between a host and the plugin at conn, and lets
// pass what p knows: either side sees the other as if it were as old as p. Both see
// messages with a field that they do not know, as if the other were newer, too.
func (p *Protocol) Between(conn grpc.ClientConnInterface) *grpc.ServiceDesc {
	pass := func(messages []*dynamicpb.Message) {
		for _, m := range messages {
			Forget(m)
			AddFuture(m)
		}
	}
	return p.Service(func(ctx context.Context, method protoreflect.MethodDescriptor, requests []*dynamicpb.Message) ([]*dynamicpb.Message, error) {
		if sent, ok := metadata.FromIncomingContext(ctx); ok {
			ctx = metadata.NewOutgoingContext(ctx, sent)
		}
		pass(requests)
		replies, err := Call(ctx, conn, method, requests...)
		pass(replies)
		return replies, err
	})
}

func path(method protoreflect.MethodDescriptor) string {
	return fmt.Sprintf("/%s/%s", method.Parent().FullName(), method.Name())
}
