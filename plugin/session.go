package plugin

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/plugin/proto"
)

// Sessions: the plugin's side, then the host's.

func sessionToProto(s *backend.Session) *proto.SessionInfo {
	if s == nil {
		return nil
	}
	return &proto.SessionInfo{
		Id: []byte(s.ID), Name: []byte(s.Name), TtlNs: int64(s.TTL), Behavior: []byte(s.Behavior),
		LockDelayNs: int64(s.LockDelay), Data: s.Data, CreateIndex: s.CreateIndex,
	}
}

func sessionFromProto(p *proto.SessionInfo) *backend.Session {
	if p == nil {
		return nil
	}
	return &backend.Session{
		ID: string(p.GetId()), Name: string(p.GetName()), TTL: time.Duration(p.GetTtlNs()), Behavior: backend.Behavior(p.GetBehavior()),
		LockDelay: time.Duration(p.GetLockDelayNs()), Data: p.GetData(), CreateIndex: p.GetCreateIndex(),
	}
}

// keeping runs f on the backend's sessions under the host's deadline.
func keeping[T any](ctx context.Context, s *service, what effect, f func(context.Context, backend.Sessions) (T, error)) (T, error) {
	return do(ctx, s, what, func(ctx context.Context, b backend.Backend) (T, error) {
		sessions, err := able[backend.Sessions](b, backend.CanKeepSessions, "")
		if err != nil {
			var none T
			return none, err
		}
		return f(ctx, sessions)
	})
}

// CreateSession begins a session.
func (s *service) CreateSession(ctx context.Context, req *proto.CreateSessionRequest) (*proto.SessionReply, error) {
	return keeping(ctx, s, writes, func(ctx context.Context, sessions backend.Sessions) (*proto.SessionReply, error) {
		made, err := sessions.CreateSession(ctx, backend.SessionOptions{
			Name: string(req.GetName()), TTL: time.Duration(req.GetTtlNs()), Behavior: backend.Behavior(req.GetBehavior()),
			LockDelay: time.Duration(req.GetLockDelayNs()), Data: req.GetData(),
		})
		return &proto.SessionReply{Session: sessionToProto(made)}, err
	})
}

// RenewSession makes a session live on.
func (s *service) RenewSession(ctx context.Context, req *proto.RenewSessionRequest) (*proto.SessionReply, error) {
	return keeping(ctx, s, writes, func(ctx context.Context, sessions backend.Sessions) (*proto.SessionReply, error) {
		renewed, err := sessions.RenewSession(ctx, string(req.GetId()))
		return &proto.SessionReply{Session: sessionToProto(renewed)}, err
	})
}

// DestroySession ends a session.
func (s *service) DestroySession(ctx context.Context, req *proto.DestroySessionRequest) (*proto.DestroySessionReply, error) {
	return keeping(ctx, s, writes, func(ctx context.Context, sessions backend.Sessions) (*proto.DestroySessionReply, error) {
		return &proto.DestroySessionReply{}, sessions.DestroySession(ctx, string(req.GetId()))
	})
}

// Session returns a live session.
func (s *service) Session(ctx context.Context, req *proto.SessionRequest) (*proto.SessionReply, error) {
	return keeping(ctx, s, reads, func(ctx context.Context, sessions backend.Sessions) (*proto.SessionReply, error) {
		live, err := sessions.Session(ctx, string(req.GetId()))
		return &proto.SessionReply{Session: sessionToProto(live)}, err
	})
}

// Sessions sends all live sessions in chunks.
func (s *service) Sessions(_ *proto.SessionsRequest, stream grpc.ServerStreamingServer[proto.SessionsChunk]) error {
	all, err := keeping(stream.Context(), s, reads, func(ctx context.Context, sessions backend.Sessions) ([]*backend.Session, error) {
		return sessions.Sessions(ctx)
	})
	if err != nil {
		return err
	}
	size := func(s **backend.Session) int { return itemRoom + len((*s).ID) + len((*s).Name) + len((*s).Data) }
	return sendChunks(all, size, func(part []*backend.Session, last bool) error {
		chunk := &proto.SessionsChunk{Sessions: make([]*proto.SessionInfo, len(part)), Last: last}
		for i, s := range part {
			chunk.Sessions[i] = sessionToProto(s)
		}
		return stream.Send(chunk)
	})
}

// kept runs a call about sessions.
func kept[T any](ctx context.Context, r remote, what effect, f func(context.Context) (T, error)) (T, error) {
	if err := r.needs(backend.CanKeepSessions, ""); err != nil {
		var none T
		return none, err
	}
	return invoke(ctx, r.Client, what, "", f)
}

// alive runs a call after which a session lives.
func (r remote) alive(ctx context.Context, f func(context.Context) (*proto.SessionReply, error)) (*backend.Session, error) {
	return kept(ctx, r, writes, func(ctx context.Context) (*backend.Session, error) {
		answer, err := f(ctx)
		if err == nil && answer.GetSession() == nil {
			err = errors.New("plugin: the answer has no session")
		}
		return sessionFromProto(answer.GetSession()), err
	})
}

// CreateSession begins a session; see backend.Sessions. This call and all others
// about sessions fail with Invalid unless the plugin can.
func (r remote) CreateSession(ctx context.Context, opts backend.SessionOptions) (*backend.Session, error) {
	return r.alive(ctx, func(ctx context.Context) (*proto.SessionReply, error) {
		return r.rpc.CreateSession(ctx, &proto.CreateSessionRequest{
			Name: []byte(opts.Name), TtlNs: int64(opts.TTL), Behavior: []byte(opts.Behavior), LockDelayNs: int64(opts.LockDelay), Data: opts.Data,
		})
	})
}

// RenewSession makes the session live for its TTL from now.
func (r remote) RenewSession(ctx context.Context, id string) (*backend.Session, error) {
	return r.alive(ctx, func(ctx context.Context) (*proto.SessionReply, error) {
		return r.rpc.RenewSession(ctx, &proto.RenewSessionRequest{Id: []byte(id)})
	})
}

// DestroySession ends the session.
func (r remote) DestroySession(ctx context.Context, id string) error {
	_, err := kept(ctx, r, writes, func(ctx context.Context) (*proto.DestroySessionReply, error) {
		return r.rpc.DestroySession(ctx, &proto.DestroySessionRequest{Id: []byte(id)})
	})
	return err
}

// Session returns the live session with that ID, or nil.
func (r remote) Session(ctx context.Context, id string) (*backend.Session, error) {
	return kept(ctx, r, reads, func(ctx context.Context) (*backend.Session, error) {
		answer, err := r.rpc.Session(ctx, &proto.SessionRequest{Id: []byte(id)})
		return sessionFromProto(answer.GetSession()), err
	})
}

// Sessions returns all live sessions, sorted by ID.
func (r remote) Sessions(ctx context.Context) ([]*backend.Session, error) {
	return kept(ctx, r, reads, func(ctx context.Context) ([]*backend.Session, error) {
		stream, err := r.rpc.Sessions(ctx, &proto.SessionsRequest{})
		if err != nil {
			return nil, err
		}
		var all []*backend.Session
		err = receiveChunks(stream.Recv, func(chunk *proto.SessionsChunk) {
			for _, p := range chunk.GetSessions() {
				all = append(all, sessionFromProto(p))
			}
		})
		return all, err
	})
}
