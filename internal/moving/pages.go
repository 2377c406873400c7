package moving

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
)

const (
	// pageBytes is about how much the values of one page take, in bytes. What they
	// may take is no measure: a backend may hold larger ones than it takes over HTTP.
	pageBytes = 8 << 20
	// firstPage is how many keys the first page with values has; mostPage bounds all
	// others.
	firstPage = 16
	mostPage  = 1000
)

// errEnough ends a walk without an error.
var errEnough = errors.New("enough")

// pages walks the items of a query in the order of their keys, until take returns an
// error. Each page is of one instant. It returns how many there were. A page with
// values has as many keys as make up pageBytes by those of the page before, but at
// most twice as many; one that is too large for the backend is halved.
func pages(ctx context.Context, b backend.Backend, timeout time.Duration, q backend.ListQuery, take func(*backend.ListItem) error) (int, error) {
	q.Limit = mostPage
	if q.Values {
		q.Limit = firstPage
	}
	for n := 1; ; {
		page, err := patiently(ctx, timeout, func(ctx context.Context) (*backend.ListResult, error) { return b.List(ctx, q) }, backend.Conflict)
		if backend.CodeOf(err) == backend.TooLarge && q.Limit > 1 {
			q.Limit /= 2
			continue
		}
		if err != nil {
			return n, fmt.Errorf("list the keys behind %q: %w", q.After, err)
		}
		bytes := 0
		for i := range page.Items {
			item := &page.Items[i]
			if item.Name <= q.After {
				return n, fmt.Errorf("list the keys behind %q: the pages do not go on", q.After)
			}
			q.After = item.Name
			if item.Entry != nil {
				bytes += len(item.Entry.Value)
			}
			if err := take(item); errors.Is(err, errEnough) {
				return n, nil
			} else if err != nil {
				return n, err
			}
		}
		if !page.More || len(page.Items) == 0 {
			return n, nil
		}
		n++
		if q.Values {
			fitting := pageBytes / max(1, bytes/len(page.Items))
			q.Limit = max(1, min(fitting, 2*q.Limit, mostPage))
		}
	}
}
