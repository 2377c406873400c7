package backend

import (
	"context"
	"iter"
)

// pageSize is how many items the iterators fetch at a time.
const pageSize = 1000

// Items yields every entry under prefix in byte order. It is lazy and pages
// underneath: each page is one atomic snapshot, the whole walk is not. After an
// error it yields nothing more.
func Items(ctx context.Context, b Backend, prefix string) iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) {
		walk(ctx, b, ListQuery{Prefix: prefix, Limit: pageSize, Values: true}, func(it *ListItem, err error) bool {
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
		walk(ctx, b, ListQuery{Prefix: prefix, Limit: pageSize}, func(it *ListItem, err error) bool {
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
	}
}
