package backend

import (
	"context"
	"iter"
)

const (
	// PageSize is the most items that a walk fetches at a time, and FirstPage how many
	// entries with values before it knows how large these are.
	PageSize  = 1000
	FirstPage = 16
	// PageBytes is about how many bytes the values of a page of a walk have.
	PageBytes = 8 << 20
)

// Items yields every entry under prefix in byte order. It is lazy and pages
// underneath: each page is one atomic snapshot, the whole walk is not. Large entries
// come few at a time. After an error it yields nothing more.
func Items(ctx context.Context, b Backend, prefix string) iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) {
		walk(ctx, b, ListQuery{Prefix: prefix, Limit: FirstPage, Values: true}, func(it *ListItem, err error) bool {
			if err != nil {
				return yield(nil, err)
			}
			return yield(it.Entry, nil)
		})
	}
}

// Keys yields every key under prefix in byte order, as Items does.
func Keys(ctx context.Context, b Backend, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		walk(ctx, b, ListQuery{Prefix: prefix, Limit: PageSize}, func(it *ListItem, err error) bool {
			if err != nil {
				return yield("", err)
			}
			return yield(it.Name, nil)
		})
	}
}

// Values yields every value under prefix in the order of the keys, as Items does.
func Values(ctx context.Context, b Backend, prefix string) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for e, err := range Items(ctx, b, prefix) {
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(e.Value, nil) {
				return
			}
		}
	}
}

// GetOr returns the value at key, or fallback when there is none.
func GetOr(ctx context.Context, b Backend, key string, fallback []byte) ([]byte, error) {
	return valueOr(fallback)(b.Get(ctx, key, GetOptions{}))
}

// PopOr reads and deletes key in one change and returns its value, or fallback
// when there was none.
func PopOr(ctx context.Context, b Backend, key string, fallback []byte) ([]byte, error) {
	return valueOr(fallback)(b.Pop(ctx, key))
}

func valueOr(fallback []byte) func(*Entry, error) ([]byte, error) {
	return func(e *Entry, err error) ([]byte, error) {
		switch {
		case err != nil:
			return nil, err
		case e == nil:
			return fallback, nil
		}
		return e.Value, nil
	}
}

// NextPage returns the limit of the page after one of a walk: as many items as have
// PageBytes if they are like those, but at most PageSize, and twice as many as the last.
func NextPage(page *ListResult, q ListQuery) int {
	return min(page.Fitting(PageBytes, PageSize), 2*q.Limit)
}

func walk(ctx context.Context, b Backend, q ListQuery, yield func(*ListItem, error) bool) {
	for {
		page, err := b.List(ctx, q)
		if err != nil {
			yield(nil, err)
			return
		}
		for i := range page.Items {
			if !yield(&page.Items[i], nil) {
				return
			}
		}
		if !page.More || len(page.Items) == 0 {
			return
		}
		q.After = page.Items[len(page.Items)-1].Name
		q.Limit = NextPage(page, q)
	}
}
