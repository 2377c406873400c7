package plugin

import (
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/plugin/proto"
)

const (
	// chunkSize is how many bytes of a listing are collected before they are
	// sent. One item larger than that goes alone.
	chunkSize = 1 << 20
	// itemRoom is what an item needs beside its strings, in bytes, roughly.
	itemRoom = 64
)

func queryToProto(q backend.ListQuery) *proto.ListRequest {
	return &proto.ListRequest{
		Prefix:    []byte(q.Prefix),
		Separator: []byte(q.Separator),
		After:     []byte(q.After),
		Limit:     int64(q.Limit),
		Values:    q.Values,
	}
}

func queryFromProto(p *proto.ListRequest) backend.ListQuery {
	return backend.ListQuery{
		Prefix:    string(p.GetPrefix()),
		Separator: string(p.GetSeparator()),
		After:     string(p.GetAfter()),
		Limit:     int(p.GetLimit()),
		Values:    p.GetValues(),
	}
}

// sendList sends a listing in chunks.
func sendList(stream grpc.ServerStreamingServer[proto.ListChunk], r *backend.ListResult) error {
	chunk, size := &proto.ListChunk{}, 0
	for i := range r.Items {
		it := &r.Items[i]
		n := len(it.Name) + itemRoom
		if it.Entry != nil {
			n += len(it.Entry.Key) + len(it.Entry.Value) + len(it.Entry.Session) + itemRoom
		}
		if size > 0 && size+n > chunkSize {
			if err := stream.Send(chunk); err != nil {
				return fmt.Errorf("plugin: send a chunk of a listing: %w", err)
			}
			chunk, size = &proto.ListChunk{}, 0
		}
		chunk.Items = append(chunk.Items, &proto.ListItem{Name: []byte(it.Name), Folded: it.Folded, Entry: entryToProto(it.Entry)})
		size += n
	}
	chunk.Last, chunk.More, chunk.Index = true, r.More, r.Index
	if err := stream.Send(chunk); err != nil {
		return fmt.Errorf("plugin: send the last chunk of a listing: %w", err)
	}
	return nil
}

// errCutShort is a listing whose last chunk never came.
var errCutShort = errors.New("plugin: the listing ended before its last chunk")

// receiveList puts a listing together from its chunks.
func receiveList(stream grpc.ServerStreamingClient[proto.ListChunk]) (*backend.ListResult, error) {
	r := &backend.ListResult{}
	for last := false; ; {
		chunk, err := stream.Recv()
		switch {
		case err == io.EOF && last:
			return r, nil
		case err == io.EOF:
			return nil, errCutShort
		case err != nil:
			return nil, err
		case last:
			return nil, fmt.Errorf("plugin: the listing went on after its last chunk")
		}
		for _, it := range chunk.GetItems() {
			r.Items = append(r.Items, backend.ListItem{Name: string(it.GetName()), Folded: it.GetFolded(), Entry: entryFromProto(it.GetEntry())})
		}
		last, r.More, r.Index = chunk.GetLast(), chunk.GetMore(), chunk.GetIndex()
	}
}
