package moving

import (
	"context"
	"fmt"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
)

const (
	// pageBytes is about how much the values of one page may take in bytes, if each
	// is as large as can be.
	pageBytes = 128 << 20
	// leastPage and mostPage bound the keys of a page.
	leastPage = 16
	mostPage  = 1000
)

// pages walks the entries under a prefix in the order of their keys, until take says
// that it has enough. Each page is of one instant. It returns how many there were.
func pages(ctx context.Context, b backend.Backend, timeout time.Duration, prefix string, take func(*backend.Entry) (enough bool, err error)) (int, error) {
	size := pageBytes / max(1, b.Limits().MaxValueSize)
	q := backend.ListQuery{Prefix: prefix, Values: true, Limit: min(max(size, leastPage), mostPage)}
	for n := 1; ; n++ {
		page, err := patiently(ctx, timeout, func(ctx context.Context) (*backend.ListResult, error) { return b.List(ctx, q) }, backend.Conflict)
		if err != nil {
			return n, fmt.Errorf("list the keys behind %q: %w", q.After, err)
		}
		for _, item := range page.Items {
			if item.Name <= q.After {
				return n, fmt.Errorf("list the keys behind %q: the pages do not go on", q.After)
			}
			q.After = item.Name
			if enough, err := take(item.Entry); err != nil || enough {
				return n, err
			}
		}
		if !page.More || len(page.Items) == 0 {
			return n, nil
		}
	}
}
