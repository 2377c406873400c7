package httpapi

import (
	"context"

	"github.com/chord-plugin/chord-plugin/backend"
)

const (
	// maxListItems is how many keys, or folded names, one response lists, and
	// maxListBytes how many bytes they and their values have. A listing of more is
	// refused, and a page ends there.
	maxListItems = 1 << 20
	maxListBytes = 64 << 20
	// maxListings is how many listings run at once that may be large: a ring needs
	// several times their bytes. They keep their places until the answer has left.
	maxListings = 4
	// smallListing is the part of maxListBytes that needs no place.
	smallListing = 16
)

// A lister is a backend, or a transaction.
type lister interface {
	List(ctx context.Context, q backend.ListQuery) (*backend.ListResult, error)
}

// page lists what q asks for, within the limits on one response.
func (h *Handler) page(ctx context.Context, from lister, q backend.ListQuery) (*backend.ListResult, error) {
	all := q.Limit <= 0 || q.Limit > h.maxItems
	if all {
		q.Limit = h.maxItems
	}
	page, err := h.placed(ctx, from, q, all)
	if err != nil {
		return nil, asError(err, q.Prefix, false)
	}
	if all && page.More {
		return nil, backend.Errorf(backend.TooLarge, q.Prefix, "more than %d names lie under the prefix, or more than %d bytes of names and values; take a narrower one, page with /v1/chord/list, or use chord-plugin export", h.maxItems, h.maxBytes)
	}
	return page, nil
}

// placed lists q at one of the places of large listings, or without one as much as
// is small for sure, if that is enough.
func (h *Handler) placed(ctx context.Context, from lister, q backend.ListQuery, all bool) (*backend.ListResult, error) {
	select {
	case h.listings <- struct{}{}:
	default:
		page, err := h.part(ctx, from, q, h.maxBytes/smallListing)
		if err != nil || !page.More || len(page.Items) == q.Limit {
			return page, err
		}
		select {
		case h.listings <- struct{}{}:
		case <-ctx.Done():
			return nil, backend.Errorf(backend.NotReady, q.Prefix, "%d large listings are under way, and this one found no place in time; try again, or take a narrower prefix", maxListings)
		}
	}
	leave := func() { <-h.listings }
	page, err := h.bounded(ctx, from, q, all)
	if err != nil {
		leave()
		return nil, err
	}
	n, size := fitting(page, h.maxBytes)
	if n < len(page.Items) { // it has grown; a page has one item at least
		page.Items, page.More = page.Items[:max(1, n)], true
	}
	if size > h.maxBytes/smallListing {
		context.AfterFunc(ctx, leave) // the request's end
	} else {
		leave()
	}
	return page, nil
}

// part lists the beginning of q, as much as has no more than so many bytes for sure.
func (h *Handler) part(ctx context.Context, from lister, q backend.ListQuery, bytes int) (*backend.ListResult, error) {
	limits := h.limits()
	largest := limits.MaxKeySize
	if q.Values {
		largest += limits.MaxValueSize
	}
	q.Limit = min(q.Limit, max(1, bytes/largest))
	return from.List(ctx, q)
}

// bounded lists q. A listing is one moment's and comes whole, so what may have too
// many bytes is measured first, part by part. Where that finds too many, the listing
// ends before them, and where all is wanted there is only More.
func (h *Handler) bounded(ctx context.Context, from lister, q backend.ListQuery, all bool) (*backend.ListResult, error) {
	part, err := h.part(ctx, from, q, h.maxBytes)
	if err != nil || !part.More || len(part.Items) == q.Limit {
		return part, err
	}
	ask, measured, left := q, 0, h.maxBytes
	for {
		n, size := fitting(part, left)
		measured, left = measured+n, left-size
		if n < len(part.Items) {
			if all {
				return &backend.ListResult{More: true}, nil
			}
			q.Limit = max(1, measured)
			break
		}
		if !part.More || n == 0 || measured >= q.Limit {
			break
		}
		ask.After, ask.Limit = part.Items[n-1].Name, min(measured, q.Limit-measured)
		if part, err = from.List(ctx, ask); err != nil {
			return nil, err
		}
	}
	return from.List(ctx, q)
}

// fitting returns how many of a page's items have no more than so many bytes
// together, and how many they have.
func fitting(page *backend.ListResult, bytes int) (n, size int) {
	for _, it := range page.Items {
		more := it.Size()
		if size+more > bytes {
			break
		}
		n, size = n+1, size+more
	}
	return n, size
}
