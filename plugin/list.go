package plugin

import (
	"google.golang.org/grpc"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/plugin/proto"
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
	size := func(it *backend.ListItem) int { return len(it.Name) + itemRoom + sizeOf(it.Entry) }
	return sendChunks(r.Items, size, func(items []backend.ListItem, last bool) error {
		chunk := &proto.ListChunk{Items: make([]*proto.ListItem, len(items))}
		for i, it := range items {
			chunk.Items[i] = &proto.ListItem{Name: []byte(it.Name), Folded: it.Folded, Entry: entryToProto(it.Entry)}
		}
		if last {
			chunk.Last, chunk.More, chunk.Index = true, r.More, r.Index
		}
		return stream.Send(chunk)
	})
}

// receiveList puts a listing together from its chunks.
func receiveList(stream grpc.ServerStreamingClient[proto.ListChunk], err error) (*backend.ListResult, error) {
	if err != nil {
		return nil, err
	}
	r := &backend.ListResult{}
	err = receiveChunks(stream.Recv, func(chunk *proto.ListChunk) {
		for _, it := range chunk.GetItems() {
			r.Items = append(r.Items, backend.ListItem{Name: string(it.GetName()), Folded: it.GetFolded(), Entry: entryFromProto(it.GetEntry())})
		}
		r.More, r.Index = chunk.GetMore(), chunk.GetIndex()
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}
