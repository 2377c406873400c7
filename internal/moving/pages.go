package moving

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
)

// errEnough ends a walk without an error.
var errEnough = errors.New("enough")

// pages walks the items of a query in the order of their keys, until take returns an
// error. Each page is of one instant. It returns how many there were. Pages are as large
// as backend.NextPage says; one that is too large for the backend is halved.
func pages(ctx context.Context, b backend.Backend, timeout time.Duration, q backend.ListQuery, take func(*backend.ListItem) error) (int, error) {
	q.Limit = backend.PageSize
	if q.Values {
		q.Limit = backend.FirstPage
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
		n++
		q.Limit = backend.NextPage(page, q)
	}
}
