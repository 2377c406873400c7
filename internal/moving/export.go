package moving

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
)

// Export writes the keys of a backend to a file. All fields but Prefix, Overwrite
// and Show are required.
type Export struct {
	Backend backend.Backend
	// Format is one of Writable.
	Format string
	// Path is the file; "-" stands for Out.
	Path string
	Out  io.Writer
	// Prefix restricts it to keys that begin with it.
	Prefix string
	// Overwrite replaces the file, if there is one.
	Overwrite bool
	// Timeout is how long the backend may take for one page.
	Timeout time.Duration
	// Show, when not nil, is told how far it is.
	Show func(Progress)
}

// Run exports. A file is there as a whole and verified, or not at all.
func (x *Export) Run(ctx context.Context) (*Exported, error) {
	if x.Show == nil {
		x.Show = func(Progress) {}
	}
	f, err := formatOf(x.Format)
	if err != nil {
		return nil, err
	}
	if f.write == nil {
		return nil, fmt.Errorf("%s is read only", f.name)
	}
	if err := reach(ctx, x.Backend, x.Timeout); err != nil {
		return nil, err
	}
	out := &Exported{Format: x.Format, Path: x.Path}
	if x.Path == "-" {
		return out, x.to(ctx, f.write(x.Out), out)
	}
	return out, save(x.Path, x.Overwrite,
		func(w io.Writer) error { return x.to(ctx, f.write(w), out) },
		func(path string) error { return x.check(ctx, &source{format: f, path: path}, out) })
}

// to writes all keys.
func (x *Export) to(ctx context.Context, w writer, out *Exported) error {
	sums := newDigest()
	n, err := pages(ctx, x.Backend, x.Timeout, backend.ListQuery{Prefix: x.Prefix, Values: true}, func(it *backend.ListItem) error {
		entry := fromBackend(it.Entry)
		if entry.Expires > 0 && x.Format == ConsulExport {
			out.Mortal++
			entry.Expires = 0
		}
		sums.add(entry.sum())
		out.Keys++
		out.Bytes += int64(len(entry.Value))
		x.Show(Progress{Doing: "read", Keys: out.Keys, Bytes: out.Bytes})
		return w.put(entry)
	})
	if err == nil {
		err = w.end()
	}
	out.Pages, out.SHA256 = n, sums.text()
	if err != nil {
		return interrupted(ctx, err)
	}
	return nil
}

// check reads back what was written.
func (x *Export) check(ctx context.Context, written *source, out *Exported) error {
	sums := newDigest()
	err := written.each(ctx, func(e *Entry) error {
		sums.add(e.sum())
		x.Show(Progress{Doing: "verified", Keys: sums.keys, Of: out.Keys})
		return nil
	})
	if err != nil {
		return err
	}
	if sums.keys != out.Keys || sums.text() != out.SHA256 {
		return fmt.Errorf("read back, the file has %s with SHA-256 %s; written were %d with %s: the disk does not keep what it is given", keys(sums.keys), sums.text(), out.Keys, out.SHA256)
	}
	out.Verified = true
	return nil
}
