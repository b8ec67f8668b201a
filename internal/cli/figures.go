package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"patchbay/internal/flow"
)

// printFigures prints what became of every row that a consolidation read; nothing for
// other runs.
func printFigures(out io.Writer, completeness json.RawMessage) {
	var c flow.Completeness
	if len(completeness) == 0 || json.Unmarshal(completeness, &c) != nil || c.Sources == nil {
		return
	}
	t := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "source\tread\tfresh\tstaged\tused\tunmatched\tduplicate\trejected\tas of\t")
	for _, name := range slices.Sorted(maps.Keys(c.Sources)) {
		s := c.Sources[name]
		note := ""
		if s.State != flow.Fresh {
			note = string(s.State)
			if s.Note != "" {
				note += ": " + plain(s.Note)
			}
		}
		asOf := "never"
		if !s.AsOf.IsZero() {
			asOf = s.AsOf.Local().Format(time.DateTime)
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s\n", name, s.Read, s.Fresh, s.Staged, s.Used, s.Unmatched, s.Duplicate, s.Rejected, asOf, note)
	}
	_ = t.Flush()
	g := c.Target
	fmt.Fprintf(out, "of %s: %d written, %d unchanged, %d rejected\n", count(int(g.Keys), "key"), g.Written, g.Unchanged, g.Rejected)
	if g.Gone > 0 {
		fmt.Fprintf(out, "%s of an earlier run are in no source any more; the target keeps them\n", count(int(g.Gone), "key"))
	}
	if c.Held != "" {
		fmt.Fprintf(out, "nothing was written: %s\n", plain(c.Held))
	}
}
