package backend

import "strings"

// ListQuery asks for the keys under a prefix, in byte order.
type ListQuery struct {
	// Prefix restricts the result to keys that begin with it; empty is all keys.
	Prefix string
	// Separator, when not empty, folds every key that has it after the prefix
	// into one item that ends with the separator ("dir/").
	Separator string
	// After restricts the result to names strictly greater than it. It is
	// compared with the folded name, so the last name of one page is the After
	// of the next.
	After string
	// Limit is the largest number of items; 0 or less is all of them.
	Limit int
	// Values asks for whole entries; otherwise only names are returned.
	Values bool
}

// ListResult is one page of a listing.
type ListResult struct {
	// Items are sorted by the bytes of their names.
	Items []ListItem
	// More reports that the limit cut the listing short.
	More bool
	// Index is the newest modify index met under the prefix, deletes included,
	// among what had to be read for this page.
	Index uint64
}

// ListItem is a key or a folded group of keys.
type ListItem struct {
	// Name is the whole key, or the folded name with its separator.
	Name string
	// Folded reports that Name stands for one or more keys that begin with it.
	Folded bool
	// Entry is the entry of the key, when values were asked for and the item is
	// not folded.
	Entry *Entry
}

// Size is how many bytes the name and the value have.
func (it *ListItem) Size() int {
	if it.Entry == nil {
		return len(it.Name)
	}
	return len(it.Name) + len(it.Entry.Value)
}

// Fitting returns how many items have values of so many bytes together, if these are
// like those of r: 1 to most. It is for walks, which do not know how large the values
// are that come.
func (r *ListResult) Fitting(bytes, most int) int {
	size := 0
	for i := range r.Items {
		if e := r.Items[i].Entry; e != nil {
			size += len(e.Value)
		}
	}
	return max(1, min(most, bytes*len(r.Items)/max(1, size)))
}

// Size is how many bytes the names and values have together.
func (r *ListResult) Size() int {
	size := 0
	for i := range r.Items {
		size += r.Items[i].Size()
	}
	return size
}

// Names returns the names of all items.
func (r *ListResult) Names() []string {
	names := make([]string, len(r.Items))
	for i := range r.Items {
		names[i] = r.Items[i].Name
	}
	return names
}

// Fold returns the name under which key is listed: the key itself, or the part
// up to and including the first separator after the prefix.
func (q *ListQuery) Fold(key string) (name string, folded bool) {
	if q.Separator == "" || len(key) < len(q.Prefix) {
		return key, false
	}
	i := strings.Index(key[len(q.Prefix):], q.Separator)
	if i < 0 {
		return key, false
	}
	return key[:len(q.Prefix)+i+len(q.Separator)], true
}
