package simhome

import "math/rand/v2"

// build furnishes the home.
func build(h *Home) {
	b := &builder{h: h, rng: rand.New(rand.NewPCG(uint64(h.opts.Seed), 0x686f757365)), limit: h.opts.Entities}
	family(b)
	prune(b)
	fill(b)
}
