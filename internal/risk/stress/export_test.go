package stress

// Block simulates one block of a question and forgets it: what the test of allocations repeats.
func Block(q Question) (func(), error) {
	p, err := q.prepare()
	if err != nil {
		return nil, err
	}
	var s sums
	var bins counts
	return func() { p.add(&s, &bins, 1, 0, block) }, nil
}
