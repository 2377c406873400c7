package plugin

import (
	"math"

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

func limitsToProto(l backend.Limits) *proto.Limits {
	return &proto.Limits{MaxKeySize: uint64(max(l.MaxKeySize, 0)), MaxValueSize: uint64(max(l.MaxValueSize, 0))}
}

func limitsFromProto(p *proto.Limits) backend.Limits {
	return backend.Limits{
		MaxKeySize:   int(min(p.GetMaxKeySize(), math.MaxInt)),
		MaxValueSize: int(min(p.GetMaxValueSize(), math.MaxInt)),
	}
}
