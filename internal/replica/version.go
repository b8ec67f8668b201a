package replica

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	"patchbay/internal/flow"
)

// covers reports whether a writing that has seen a knew all that b has.
func covers(a, b map[string]int64) bool {
	for region, n := range b { // the answer is the same in any order
		if a[region] < n {
			return false
		}
	}
	return true
}

// join gives what two writings have seen together. Neither is changed; the result may
// be one of them.
func join(a, b map[string]int64) map[string]int64 {
	switch {
	case covers(a, b):
		return a
	case covers(b, a):
		return b
	}
	sum := maps.Clone(a)
	for region, n := range b {
		sum[region] = max(sum[region], n)
	}
	return sum
}

// seenBy gives what the nth writing of a region has seen, whose author knew these.
func seenBy(known map[string]int64, region string, n int64) map[string]int64 {
	seen := make(map[string]int64, len(known)+1)
	maps.Copy(seen, known)
	seen[region] = n
	return seen
}

// later compares two writings by time. No two different ones of one value are equal:
// a region's own stamps of a value ascend.
func later(a, b flow.Version) int {
	return cmp.Or(cmp.Compare(a.Stamp, b.Stamp), cmp.Compare(a.Region, b.Region))
}

// order compares two writings of one value by a rule. It agrees with what they have seen:
// who knew the other one is greater, because stamps and counts ascend along what is known.
// The values are compared for the case of a region that was restored and repeats itself.
func order(rule flow.ConflictRule, a, b flow.SyncCell) int {
	byRegion := 0
	if rule.Rule == flow.RuleRegion {
		byRegion = cmp.Compare(a.Version.Seen[rule.Region], b.Version.Seen[rule.Region])
	}
	return cmp.Or(byRegion, later(a.Version, b.Version), bytes.Compare(a.Value, b.Value))
}

// encodeVersion writes a version as stamp|region|region:count,…
func encodeVersion(b []byte, v flow.Version) []byte {
	b = strconv.AppendInt(b, v.Stamp, 10)
	b = append(append(append(b, '|'), v.Region...), '|')
	if len(v.Seen) == 1 {
		for region, n := range v.Seen {
			return strconv.AppendInt(append(append(b, region...), ':'), n, 10)
		}
	}
	for i, region := range slices.Sorted(maps.Keys(v.Seen)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(append(append(b, region...), ':'), v.Seen[region], 10)
	}
	return b
}

// decodeVersion reads what encodeVersion wrote; anything else is our own mistake.
func decodeVersion(s string) (v flow.Version, ok bool) {
	stamp, rest, ok1 := strings.Cut(s, "|")
	region, seen, ok2 := strings.Cut(rest, "|")
	n, err := strconv.ParseInt(stamp, 10, 64)
	if !ok1 || !ok2 || err != nil {
		return v, false
	}
	v = flow.Version{Stamp: n, Region: region, Seen: map[string]int64{}}
	for seen != "" {
		var one string
		one, seen, _ = strings.Cut(seen, ",")
		name, count, found := strings.Cut(one, ":")
		n, err := strconv.ParseInt(count, 10, 64)
		if !found || err != nil {
			return v, false
		}
		v.Seen[name] = n
	}
	return v, true
}
