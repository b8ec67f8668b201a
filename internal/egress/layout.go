package egress

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// Our own columns of each table. No source's column has such a name; see columnOf.
var (
	first = []string{":batch", ":n"}
	last  = []string{
		":stamp", ":region", ":seen", // the version of the values; null: none is said
		":cells", // versions of values that have another one, by column
		":gone",  // the version of the deletion
		":was",   // the key before, as a list of JSON texts
		":over",  // what the values took the place of, as flow.SyncCell has it, in base 36
	}
)

// relationOf names the table of a flow's table in the schema egress.
func relationOf(flowName, table string) string {
	sum := sha256.Sum256([]byte(flowName + "\x00" + table))
	return plain(flowName, 20) + "_" + plain(table, 24) + "_" + hex.EncodeToString(sum[:8])
}

// qualified is a table of the schema egress, quoted.
func qualified(relation string) string { return pgx.Identifier{"egress", relation}.Sanitize() }

// columnOf names the column of a source's column: the same name, unless PostgreSQL or we
// could not have it.
func columnOf(name string) string {
	const longest = 63
	switch name {
	case "ctid", "tableoid", "xmin", "xmax", "cmin", "cmax": // every table has them
	default:
		if len(name) <= longest && !strings.HasPrefix(name, ":") {
			return name
		}
	}
	sum := sha256.Sum256([]byte(name))
	return "::" + plain(name, 40) + "_" + hex.EncodeToString(sum[:8])
}

// layout gives all columns of a table that cross, in the order in which both sides of
// the wire have them: ours, the key, what may cross, the versions.
func layout(t *flow.SyncTable) []string {
	out := slices.Clone(first)
	for _, name := range t.Key {
		out = append(out, columnOf(name))
	}
	for _, c := range t.Columns {
		out = append(out, columnOf(c.Name))
	}
	return append(out, last...)
}

// quotedList makes a list of columns for a statement.
func quotedList(columns []string) string {
	quoted := make([]string, len(columns))
	for i, c := range columns {
		quoted[i] = pgx.Identifier{c}.Sanitize()
	}
	return strings.Join(quoted, ", ")
}

// sound refuses a table that has no place here.
func sound(t *flow.SyncTable) error {
	seen := map[string]bool{}
	for _, name := range t.Key {
		if name == "" || seen[name] || !utf8.ValidString(name) || strings.Contains(name, "\x00") {
			return fault.Invalidf("egress.plan", "table %q has a key column without a name, or one twice", t.Name)
		}
		seen[name] = true
	}
	for _, c := range t.Columns {
		if c.Name == "" || seen[c.Name] || !utf8.ValidString(c.Name) || strings.Contains(c.Name, "\x00") {
			return fault.Invalidf("egress.plan", "table %q has a column without a name, or one twice", t.Name)
		}
		seen[c.Name] = true
	}
	if t.Name == "" || len(t.Key) == 0 {
		return fault.Invalidf("egress.plan", "table %q has no key", t.Name)
	}
	if len(seen) > 1000 {
		return fault.Invalidf("egress.plan", "table %q has more than 1,000 columns that may cross", t.Name)
	}
	return nil
}
