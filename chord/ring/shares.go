package ring

import (
	"encoding/binary"
	"slices"
)

// Shares places 2^shareBits keys.
const shareBits = 16

// shareSteps are odd, so that k*step modulo 2^shareBits meets every cell of the
// circle once: the samples of each point are spread evenly, which errs less than
// as many real keys (a lattice rule; Niederreiter 1992, chapter 5).
var shareSteps = [MaxReplicas]uint64{1, 6229, 20081, 35643, 54783}

// Shares returns the part of all copies of all keys that each member of New
// keeps, in the order of New.Members; the parts sum to 1.
//
// It is exact when every member owns every key, and otherwise an estimate from
// 2^16 keys: its standard error is below 2% of a share for up to 200 members at
// DefaultTokens (the tests hold it to that). It is computed once, in some tens
// of milliseconds at most; the caller may change what it gets.
func (p *Placement) Shares() []float64 {
	p.sharesOnce.Do(func() { p.shares = p.current().shares() })
	return slices.Clone(p.shares)
}

func (c *circle) shares() []float64 {
	shares := make([]float64, len(c.side.Members))
	copies := c.side.Copies()
	if copies == len(shares) {
		for i := range shares {
			shares[i] = 1 / float64(copies)
		}
		return shares
	}
	counts := make([]int, len(shares))
	for k := range uint64(1 << shareBits) {
		var points [MaxReplicas]ID
		for i, step := range shareSteps[:copies] {
			points[i] = samplePoint(k*step, i, copies)
		}
		var idx [MaxReplicas]int
		for _, m := range idx[:c.owners(&points, &idx)] {
			counts[m]++
		}
	}
	for i, n := range counts {
		shares[i] = float64(n) / float64(copies<<shareBits)
	}
	return shares
}

// samplePoint returns a place in cell k (modulo 2^shareBits) of the circle: cut in
// so many parts as there are copies, the middle of part i. So the points of one
// copy lie between those of the others.
func samplePoint(k uint64, i, copies int) ID {
	const cell = 1 << (64 - shareBits)
	var id ID
	binary.BigEndian.PutUint64(id.b[:], k*cell+uint64(2*i+1)*(cell/2)/uint64(copies))
	return id
}
