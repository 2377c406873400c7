package ring

// AtRisk returns the share of keys, 0 to 1, of which a majority of the owners is
// among the dropped members, so that a write that only those acknowledged is gone
// with them. In a joint configuration the owners by Old count: every write has a
// majority of them. It is an estimate as Shares is.
func (p *Placement) AtRisk(drop []ID) float64 {
	c := &p.sides[0]
	gone := make([]bool, len(c.side.Members))
	for i, m := range c.side.Members {
		for _, id := range drop {
			gone[i] = gone[i] || m.ID == id
		}
	}
	copies := c.side.Copies()
	risky := 0
	for k := range uint64(1 << shareBits) {
		var points [MaxReplicas]ID
		for i, step := range shareSteps[:copies] {
			points[i] = samplePoint(k*step, i, copies)
		}
		var idx [MaxReplicas]int
		lost := 0
		for _, m := range idx[:c.owners(&points, &idx)] {
			if gone[m] {
				lost++
			}
		}
		if lost >= Majority(copies) {
			risky++
		}
	}
	return float64(risky) / (1 << shareBits)
}
