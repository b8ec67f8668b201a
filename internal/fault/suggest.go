package fault

import "slices"

// Closest returns the known name that a misspelt one most likely meant, or ""
// when none is near: at most one edit in three characters, case being free.
func Closest(name string, known []string) string {
	best, least := "", len(name)/3+1
	sorted := slices.Sorted(slices.Values(known)) // ties go to the first in the alphabet
	for _, k := range sorted {
		if d := distance(name, k); d < least || d == least && best == "" {
			best, least = k, d
		}
	}
	return best
}

// distance counts the insertions, deletions, replacements and swaps of
// neighbours that turn a into b.
func distance(a, b string) int {
	const most = 64 // longer names are not misspelt ones
	if len(a) > most || len(b) > most {
		return most
	}
	var rows [3][most + 1]int
	two, one, now := &rows[0], &rows[1], &rows[2]
	for j := range len(b) + 1 {
		one[j] = j
	}
	for i := 1; i <= len(a); i++ {
		now[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if lower(a[i-1]) == lower(b[j-1]) {
				cost = 0
			}
			now[j] = min(one[j]+1, now[j-1]+1, one[j-1]+cost)
			if i > 1 && j > 1 && lower(a[i-1]) == lower(b[j-2]) && lower(a[i-2]) == lower(b[j-1]) {
				now[j] = min(now[j], two[j-2]+1)
			}
		}
		two, one, now = one, now, two
	}
	return one[len(b)]
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
