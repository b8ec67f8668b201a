package portable

import "math/bits"

// The multipliers and key increments of Philox4x64.
const (
	philoxM0 = 0xD2E7470EE14C6C93
	philoxM1 = 0xCA5A826395121157
	philoxW0 = 0x9E3779B97F4A7C15
	philoxW1 = 0xBB67AE8584CAA73B
)

// Philox gives the four numbers that Philox4x64-10 has at a place: for any seed and stream,
// any place can be asked for without those before it.
//
// Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC11. The
// test holds it to the vectors that the authors published with it (Random123, kat_vectors).
func Philox(seed, stream uint64, place [4]uint64) [4]uint64 {
	c0, c1, c2, c3 := place[0], place[1], place[2], place[3]
	for range 10 {
		h0, l0 := bits.Mul64(philoxM0, c0)
		h1, l1 := bits.Mul64(philoxM1, c2)
		c0, c1, c2, c3 = h1^c1^seed, l1, h0^c3^stream, l0
		seed += philoxW0
		stream += philoxW1
	}
	return [4]uint64{c0, c1, c2, c3}
}

// Uniform makes of 64 random bits a number inside (0, 1), symmetric about a half: of 2^52 values the
// smallest is 2^-53.
func Uniform(bits uint64) float64 {
	return (float64(int64(bits>>12)) + 0.5) * 0x1p-52
}
