package bank

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// A book of all transfers that happened, for judging snapshots.
type books struct {
	b *Bank
	// done are the marks of the transfers of each teller that happened, in order;
	// sums are the changes of all accounts by them together, beginning with none.
	done [][]int
	sums [][][]int
}

func (b *Bank) books() *books {
	k := &books{b: b}
	for _, t := range b.tellers {
		var done []int
		sums := [][]int{make([]int, len(b.names))}
		for i, x := range t.book {
			if x.outcome != happened {
				continue
			}
			sum := slices.Clone(sums[len(sums)-1])
			for account, n := range x.changes {
				sum[account] += n
			}
			done, sums = append(done, i+1), append(sums, sum)
		}
		k.done, k.sums = append(k.done, done), append(k.sums, sums)
	}
	return k
}

// position is how many transfers of a teller had happened when it had a mark.
func (k *books) position(teller, mark int) (int, error) {
	if mark == 0 {
		return 0, nil
	}
	at, ok := slices.BinarySearch(k.done[teller], mark)
	if !ok {
		what := "was never made"
		if book := k.b.tellers[teller].book; mark <= len(book) {
			what = "did not happen, as it was told: " + book[mark-1].String()
		}
		return 0, fmt.Errorf("the mark of teller %d is %d, and that transfer %s", teller, mark, what)
	}
	return at + 1, nil
}

// transfer returns the transfer of a teller at a position, from 1.
func (k *books) transfer(teller, position int) *transfer {
	return k.b.tellers[teller].book[k.done[teller][position-1]-1]
}

// check says what is wrong with a snapshot by itself, and returns its positions.
func (k *books) check(s *snapshot) (positions []int, err error) {
	positions = make([]int, len(s.marks))
	want := make([]int, len(k.b.names))
	for i := range want {
		want[i] = deposit
	}
	for teller, mark := range s.marks {
		if positions[teller], err = k.position(teller, mark); err != nil {
			return nil, fmt.Errorf("%v: %w", s, err)
		}
		for account, n := range k.sums[teller][positions[teller]] {
			want[account] += n
		}
	}
	if !slices.Equal(s.balances, want) {
		return nil, fmt.Errorf("HALF: %v shows the accounts as %v (together %d), and by the marks %v they hold %v (together %d)", s, s.balances, total(s.balances), s.marks, want, total(want))
	}
	return positions, k.checkTime(s, positions)
}

func total(balances []int) (sum int) {
	for _, n := range balances {
		sum += n
	}
	return sum
}

// checkTime says what a snapshot shows too early or too late.
func (k *books) checkTime(s *snapshot, positions []int) error {
	var newest *transfer // the one that it shows that began last
	for teller, p := range positions {
		if p == 0 {
			continue
		}
		if x := k.transfer(teller, p); newest == nil || x.call > newest.call {
			newest = x
		}
	}
	if newest != nil && newest.call > s.end {
		return fmt.Errorf("EARLY: %v shows %v", s, newest)
	}
	for teller, p := range positions {
		if p == len(k.done[teller]) {
			continue
		}
		switch missing := k.transfer(teller, p+1); {
		case missing.end < s.call:
			return fmt.Errorf("LATE: %v does not show teller %d's %v", s, teller, missing)
		case newest != nil && missing.end < newest.call:
			return fmt.Errorf("ORDER: %v shows %v and not teller %d's %v, which had ended before", s, newest, teller, missing)
		}
	}
	return nil
}

// checkAll says what is wrong with snapshots, each by itself and together: they
// must have one order, in which time does not go back.
func (k *books) checkAll(snapshots []snapshot) (problems []string) {
	type placed struct {
		*snapshot
		positions []int
	}
	var all []placed
	for i := range snapshots {
		positions, err := k.check(&snapshots[i])
		if err != nil {
			problems = append(problems, err.Error())
			continue
		}
		all = append(all, placed{&snapshots[i], positions})
	}
	slices.SortStableFunc(all, func(a, b placed) int { return cmp.Compare(total(a.positions), total(b.positions)) })
	var late *snapshot // of those that show less, the one that began last
	for i, first := 1, 0; i < len(all); i++ {
		a, b := all[i-1], all[i]
		for teller := range a.positions {
			if a.positions[teller] > b.positions[teller] {
				problems = append(problems, fmt.Sprintf("FORK: %v shows a transfer of teller %d that %v does not, and less of others", a.snapshot, teller, b.snapshot))
				break
			}
		}
		if total(a.positions) < total(b.positions) {
			for ; first < i; first++ {
				if late == nil || all[first].call > late.call {
					late = all[first].snapshot
				}
			}
		}
		if late != nil && b.end < late.call {
			problems = append(problems, fmt.Sprintf("BACK: %v shows more than %v, which began later", b.snapshot, late))
		}
	}
	return problems
}

// longestPause returns the longest time in which no transfer happened, and its
// beginning, until a time.
func (k *books) longestPause(until time.Duration) (pause, from time.Duration) {
	ends := []time.Duration{0, until}
	for teller := range k.done {
		for p := range k.done[teller] {
			ends = append(ends, k.transfer(teller, p+1).end)
		}
	}
	slices.Sort(ends)
	for i, end := range ends[1:] {
		if end <= until && end-ends[i] > pause {
			pause, from = end-ends[i], ends[i]
		}
	}
	return pause, from
}
