package app

import (
	"fmt"
	"slices"
	"strings"

	"patchbay/internal/flow"
)

// syncEdits says what an edit of a synchronization does to what crosses, for people.
func syncEdits(before, after *flow.Plan) (words []string) {
	if before == nil || before.Sync == nil || after.Sync == nil {
		return nil
	}
	for _, t := range after.Sync.Tables {
		was := before.Sync.Table(t.Name)
		if was == nil {
			words = append(words, "table "+t.Name+" is new: all that is there is read, and crosses")
			continue
		}
		words = append(words, tableEdits(*was, t)...)
	}
	for _, t := range before.Sync.Tables {
		if after.Sync.Table(t.Name) == nil {
			words = append(words, "table "+t.Name+" does not cross any more: what the other regions have not fetched leaves the border, and they keep what they have")
		}
	}
	for _, r := range before.Sync.Regions {
		if after.Sync.Region(r.Name) == nil {
			words = append(words, "region "+r.Name+" has no part any more: it keeps what it has, and reads no border")
		}
	}
	return words
}

func tableEdits(was, is flow.SyncTable) (words []string) {
	if !slices.Equal(was.Key, is.Key) {
		words = append(words, fmt.Sprintf("the key of table %s is %s in place of %s, as soon as nothing waits that is known by the old one",
			is.Name, strings.Join(is.Key, ", "), strings.Join(was.Key, ", ")))
	}
	for _, c := range is.Columns {
		i := slices.IndexFunc(was.Columns, func(b flow.SyncColumn) bool { return b.Name == c.Name })
		switch filled := i >= 0 && was.Columns[i].Backfill; {
		case c.Backfill && !filled && i >= 0:
			words = append(words, fmt.Sprintf("%s.%s crosses already; what is there crosses too now, beside what changes", is.Name, c.Name))
		case i >= 0:
		case c.Backfill:
			words = append(words, fmt.Sprintf("%s.%s is newly allowed, and what is there crosses too (backfill), beside what changes", is.Name, c.Name))
		default:
			words = append(words, fmt.Sprintf("%s.%s is newly allowed: it crosses as its records change, and not what is there (backfill: true)", is.Name, c.Name))
		}
	}
	for _, c := range was.Columns {
		if !slices.ContainsFunc(is.Columns, func(a flow.SyncColumn) bool { return a.Name == c.Name }) {
			words = append(words, fmt.Sprintf("%s.%s is not allowed any more: nothing of it is read or crosses, what was not fetched leaves the border, and the other regions keep what they have", is.Name, c.Name))
		}
	}
	return words
}

// edited says what an apply did to what crosses.
func edited(before []flow.Applied, now []*flow.Plan) (lines []string) {
	for _, a := range before {
		for _, p := range now {
			if p.Flow == a.Plan.Flow {
				for _, words := range syncEdits(a.Plan, p) {
					lines = append(lines, p.Flow+": "+words)
				}
			}
		}
	}
	return lines
}
