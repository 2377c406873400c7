package plugin

import (
	"math"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/plugin/proto"
)

// entryToProto turns an entry into its message; nil stays nil.
func entryToProto(e *backend.Entry) *proto.Entry {
	if e == nil {
		return nil
	}
	return &proto.Entry{
		Key:         []byte(e.Key),
		Value:       e.Value,
		Flags:       e.Flags,
		Session:     e.Session,
		CreateIndex: e.CreateIndex,
		ModifyIndex: e.ModifyIndex,
		LockIndex:   e.LockIndex,
		LockToken:   e.LockToken,

		ExpiresAfterNs: int64(e.ExpiresAfter),
	}
}

// entryFromProto turns a message into an entry; nil stays nil. An empty value
// is not nil.
func entryFromProto(p *proto.Entry) *backend.Entry {
	if p == nil {
		return nil
	}
	value := p.GetValue()
	if value == nil {
		value = []byte{}
	}
	return &backend.Entry{
		Key:         string(p.GetKey()),
		Value:       value,
		Flags:       p.GetFlags(),
		Session:     p.GetSession(),
		CreateIndex: p.GetCreateIndex(),
		ModifyIndex: p.GetModifyIndex(),
		LockIndex:   p.GetLockIndex(),
		LockToken:   p.GetLockToken(),

		ExpiresAfter: time.Duration(p.GetExpiresAfterNs()),
	}
}

// conditionToProto returns the index asked for, or nil without a condition.
func conditionToProto(c backend.Condition) *uint64 {
	if n, ok := c.Index(); ok {
		return &n
	}
	return nil
}

func conditionFromProto(index *uint64) backend.Condition {
	if index == nil {
		return backend.Condition{}
	}
	return backend.IfIndex(*index)
}

// fenceToProto turns a fence into its message, that of no fence into nil.
func fenceToProto(f backend.Fence) *proto.Fence {
	if f == (backend.Fence{}) {
		return nil
	}
	return &proto.Fence{Key: []byte(f.Key), Token: f.Token}
}

func fenceFromProto(p *proto.Fence) backend.Fence {
	return backend.Fence{Key: string(p.GetKey()), Token: p.GetToken()}
}

func putToProto(key string, value []byte, opts backend.PutOptions) *proto.PutRequest {
	return &proto.PutRequest{Key: []byte(key), Value: value, Flags: opts.Flags, IfIndex: conditionToProto(opts.If),
		ExpiresAfterNs: int64(opts.ExpiresAfter), Fence: fenceToProto(opts.Fence)}
}

func putFromProto(p *proto.PutRequest) (key string, value []byte, opts backend.PutOptions) {
	// The fields are not read by getters, since a condition of 0 is no absent one.
	if p == nil {
		return "", nil, backend.PutOptions{}
	}
	return string(p.Key), p.Value, backend.PutOptions{If: conditionFromProto(p.IfIndex), Flags: p.Flags,
		ExpiresAfter: time.Duration(p.ExpiresAfterNs), Fence: fenceFromProto(p.Fence)}
}

func deleteToProto(key string, opts backend.DeleteOptions) *proto.DeleteRequest {
	return &proto.DeleteRequest{Key: []byte(key), IfIndex: conditionToProto(opts.If), Fence: fenceToProto(opts.Fence)}
}

func deleteFromProto(p *proto.DeleteRequest) (key string, opts backend.DeleteOptions) {
	if p == nil {
		return "", backend.DeleteOptions{}
	}
	return string(p.Key), backend.DeleteOptions{If: conditionFromProto(p.IfIndex), Fence: fenceFromProto(p.Fence)}
}

func limitsToProto(l backend.Limits) *proto.Limits {
	return &proto.Limits{MaxKeySize: uint64(max(l.MaxKeySize, 0)), MaxValueSize: uint64(max(l.MaxValueSize, 0))}
}

func limitsFromProto(p *proto.Limits) backend.Limits {
	return backend.Limits{
		MaxKeySize:   int(min(p.GetMaxKeySize(), math.MaxInt)),
		MaxValueSize: int(min(p.GetMaxValueSize(), math.MaxInt)),
	}
}
