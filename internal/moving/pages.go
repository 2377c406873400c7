package moving

import (
	"context"
	"errors"
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

// errEnough ends a walk without an error.
var errEnough = errors.New("enough")

// pages walks the items of a query in the order of their keys, until take returns an
// error. Each page is of one instant. It returns how many there were.
func pages(ctx context.Context, b backend.Backend, timeout time.Duration, q backend.ListQuery, take func(*backend.ListItem) error) (int, error) {
	size := pageBytes / max(1, b.Limits().MaxValueSize)
	q.Limit = min(max(size, leastPage), mostPage)
	if !q.Values {
		q.Limit = mostPage
	}
	for n := 1; ; n++ {
		page, err := patiently(ctx, timeout, func(ctx context.Context) (*backend.ListResult, error) { return b.List(ctx, q) }, backend.Conflict)
		if err != nil {
			return n, fmt.Errorf("list the keys behind %q: %w", q.After, err)
		}
		for i := range page.Items {
			item := &page.Items[i]
			if item.Name <= q.After {
				return n, fmt.Errorf("list the keys behind %q: the pages do not go on", q.After)
			}
			q.After = item.Name
			if err := take(item); errors.Is(err, errEnough) {
				return n, nil
			} else if err != nil {
				return n, err
			}
		}
		if !page.More || len(page.Items) == 0 {
			return n, nil
		}
	}
}
