package check_test

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"patchbay/flows"
	"patchbay/internal/check"
	"patchbay/internal/flowfile"
)

type (
	// edited is a directory made of the examples by one edit.
	edited struct {
		name string
		dir  map[string]string // the files that differ; besides these connections.yaml and account-sync.yaml
	}

	// spot is what an edit is about: a column of a table in a region.
	spot struct {
		region, other string // other: another one
		table, key    string
		column        string
	}

	// operator makes an edit of the examples. It leaks what it is given, and does no harm
	// where that may leave.
	operator struct {
		name string
		edit func(t *testing.T, s spot) map[string]string
	}
)

// change replaces text, each of which has to be there.
func change(t *testing.T, text string, pairs ...string) string {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		require.Contains(t, text, pairs[i])
		text = strings.Replace(text, pairs[i], pairs[i+1], 1)
	}
	return text
}

func exampleText(t *testing.T, name string) string {
	t.Helper()
	b, err := flows.Files.ReadFile(name)
	require.NoError(t, err)
	return string(b)
}

// between cuts what stands from one text up to another and puts in something else.
func between(t *testing.T, text, from, to, instead string) string {
	t.Helper()
	i := strings.Index(text, from)
	require.GreaterOrEqual(t, i, 0, from)
	n := strings.Index(text[i:], to)
	require.GreaterOrEqual(t, n, 0, to)
	return text[:i] + instead + text[i+n:]
}

// press is product-specs, which reads a table of a region instead.
func press(t *testing.T, s spot, where, read, each, value string) map[string]string {
	t.Helper()
	text := between(t, exampleText(t, "product-specs.yaml"), "read:\n", "write:", fmt.Sprintf(
		"read:\n  from: dataverse-%s.%s\n  where: { %s: params.product_id }\n  %s\n%smap:\n  msx_productnumber: params.product_id\n  msx_attribute: '\"what\"'\n  msx_value: '%s'\n\n",
		s.region, s.table, where, read, each, value))
	return map[string]string{"product-specs.yaml": text}
}

func pressOf(value string) func(*testing.T, spot) map[string]string {
	return func(t *testing.T, s spot) map[string]string {
		t.Helper()
		return press(t, s, s.key, "select: ["+s.key+", "+s.column+"]", "", strings.ReplaceAll(value, "X", s.column))
	}
}

// told is case-notifications, which reacts to a table of a region instead.
func told(t *testing.T, s spot, trigger, throttle, recipient, subject, template string) map[string]string {
	t.Helper()
	text := exampleText(t, "case-notifications.yaml")
	text = between(t, text, "on:\n", "sweep:", fmt.Sprintf("on:\n  - source: dataverse-%s.%s\n    change: [update]\n%s\n", s.region, s.table, trigger))
	text = between(t, text, "# A note does not know", "send:", "")
	text = change(t, text, "burst: 10 }", "burst: 10"+throttle+" }", "recipient: row.customer_email", "recipient: "+recipient,
		`"Your case {{.Row.ticketnumber}}: {{.Row.title}}"`, "'"+subject+"'", "template: case-update.html", "template: told.html")
	return map[string]string{"case-notifications.yaml": text, "told.html": "<html><body>" + template + "</body></html>"}
}

const plainRecipient = `'"desk@contoso.example"'`

func toldBy(template string) func(*testing.T, spot) map[string]string {
	return func(t *testing.T, s spot) map[string]string {
		t.Helper()
		return told(t, s, "    key: row."+s.key+"\n    where: row."+s.key+" != \"\"\n", "", plainRecipient, "News", strings.ReplaceAll(template, "X", s.column))
	}
}

func toldWhen(trigger string) func(*testing.T, spot) map[string]string {
	return func(t *testing.T, s spot) map[string]string {
		t.Helper()
		return told(t, s, strings.NewReplacer("X", s.column, "K", s.key).Replace(trigger), "", plainRecipient, "News", "<p>News</p>")
	}
}

// copied is an event flow that writes a column to another table.
func copied(t *testing.T, s spot, to, key, column string) map[string]string {
	t.Helper()
	text := exampleText(t, "case-notifications.yaml")
	text = between(t, text, "on:\n", "sweep:", fmt.Sprintf("on:\n  - source: dataverse-%s.%s\n    change: [create, update]\n    key: row.%s\n\n", s.region, s.table, s.key))
	text = between(t, text, "# A note does not know", "send:", "")
	text = change(t, text, "spike: [queue, digest, shed]", "spike: [queue, shed]")
	i := strings.Index(text, "send:")
	text = text[:i] + fmt.Sprintf("map:\n  %s: row.%s\n  %s: row.%s\nwrite: { to: %s, key: [%s] }\n", key, s.key, column, s.column, to, key)
	return map[string]string{"case-notifications.yaml": text}
}

// picture is customer-360, which gathers a table of a region as well.
func picture(t *testing.T, s spot, source string, more ...string) map[string]string {
	t.Helper()
	r := strings.NewReplacer("X", s.column, "K", s.key)
	pairs := []string{"select: [accountnumber, name]", "select: [accountnumber]", "  orders:\n    from: sap.orders", fmt.Sprintf("  local:\n    from: dataverse-%s.%s\n%s\n  orders:\n    from: sap.orders", s.region, s.table, r.Replace(source))}
	for _, m := range more {
		pairs = append(pairs, r.Replace(m))
	}
	return map[string]string{"customer-360.yaml": change(t, exampleText(t, "customer-360.yaml"), pairs...)}
}

const (
	localSource = "    select: [K, X]\n    key: row.K\n    identity: [K]\n    one: true"
	mapEnd      = "  msx_documents: size(documents)\n"
)

// operators are the edits that carry a column out of its region by other flows.
func operators() []operator {
	ops := []operator{
		{"an expanded child row", func(t *testing.T, s spot) map[string]string {
			return press(t, s, s.key, "select: ["+s.key+"]\n  expand: { kids: related }", "each: row.kids\n", "item."+s.column)
		}},
		{"a filter of a read", func(t *testing.T, s spot) map[string]string {
			return press(t, s, s.column, "select: ["+s.key+"]", "", "row."+s.key)
		}},
		{"a recipient", func(t *testing.T, s spot) map[string]string {
			return told(t, s, "    key: row."+s.key+"\n", "", "row."+s.column, "News", "<p>News</p>")
		}},
		{"a subject", func(t *testing.T, s spot) map[string]string {
			return told(t, s, "    key: row."+s.key+"\n", "", plainRecipient, "News of {{.Row."+s.column+"}}", "<p>News</p>")
		}},
		{"a throttle", func(t *testing.T, s spot) map[string]string {
			return told(t, s, "    key: row."+s.key+"\n", ", per: row."+s.column, plainRecipient, "News", "<p>News</p>")
		}},
		{"a copy to another region", func(t *testing.T, s spot) map[string]string {
			if s.table == "account" {
				return copied(t, s, "dataverse-"+s.other+".contact", "msx_contactnumber", "msx_patientid")
			}
			return copied(t, s, "dataverse-"+s.other+".account", "accountnumber", "description")
		}},
		{"a map of a consolidation", func(t *testing.T, s spot) map[string]string {
			return picture(t, s, localSource, mapEnd, mapEnd+"  name: local.X\n")
		}},
		{"a key of a consolidation", func(t *testing.T, s spot) map[string]string {
			return picture(t, s, "    select: [K, X]\n    key: row.X\n    identity: [K]\n    one: true", mapEnd, mapEnd+"  name: local.K\n")
		}},
		{"an identity of a consolidation", func(t *testing.T, s spot) map[string]string {
			return picture(t, s, "    select: [K, X]\n    key: row.K\n    identity: [K, X]\n    one: true", mapEnd, mapEnd+"  name: local.K\n")
		}},
		{"a filter of a consolidation", func(t *testing.T, s spot) map[string]string {
			return picture(t, s, "    where: { X: '\"C50\"' }\n"+localSource, mapEnd, mapEnd+"  name: local.K\n")
		}},
		{"what a model is shown", func(t *testing.T, s spot) map[string]string {
			return picture(t, s, localSource, mapEnd, mapEnd+"  name: local.K\n", "    orders: { id: [SalesOrder]", "    local: { id: [K], show: [X] }\n    orders: { id: [SalesOrder]")
		}},
		{"a fact that a rule tells", func(t *testing.T, s spot) map[string]string {
			return picture(t, s, localSource, mapEnd, mapEnd+"  name: local.K\n", "    orders: { id: [SalesOrder]", "    local: { id: [K], show: [K] }\n    orders: { id: [SalesOrder]",
				"    open_orders: {", "    worst: { do: max, of: local.X }\n    open_orders: {", "string(facts.open_orders)", "string(facts.worst)")
		}},
	}
	for _, value := range []string{
		`row.X`, `string(row.X)`, `row.?X.orValue("")`, `has(row.X) ? "a" : "b"`, `[row].map(r, r.X)[0]`, `row.X == "C50" ? "yes" : "no"`, `string(size(row.X))`, `row.X.substring(0, 1) + "…"`,
	} {
		ops = append(ops, operator{"the expression " + value, pressOf(value)})
	}
	for _, template := range []string{
		`{{.Row.X}}`, `{{range .Items}}{{.Row.X}}{{end}}`, `{{range .Items}}{{.Was.X}}{{end}}`, `{{optional . "X"}}`, `{{was . "X"}}`, `{{with .Row}}{{.X}}{{end}}`, `{{if .Row.X}}ill{{end}}`,
		`{{printf "%v" .Row}}{{if changed . "X"}}!{{end}}`,
	} {
		ops = append(ops, operator{"the template " + template, toldBy(template)})
	}
	for _, trigger := range []string{
		"    key: row.X\n", "    key: row.K + row.X\n", "    select: [X]\n    key: row.K\n", "    where: row.X != \"\"\n    key: row.K\n", "    transitions: was.X != row.X\n    key: row.K\n",
	} {
		ops = append(ops, operator{"the trigger " + trigger, toldWhen(trigger)})
	}
	return ops
}

// places are the spots of both tables in each region, with a column that must stay or one
// that may leave.
func places(restricted bool) []spot {
	var out []spot
	for i, region := range []string{"de", "fr", "ch"} {
		other := []string{"fr", "ch", "de"}[i]
		account, contact := spot{region, other, "account", "accountnumber", "telephone1"}, spot{region, other, "contact", "msx_contactnumber", "fullname"}
		if restricted {
			account.column, contact.column = "msx_diagnosis", "msx_patientid"
		}
		out = append(out, account, contact)
	}
	return out
}

// applied makes an edit by each operator, at the spots in turn.
func applied(t *testing.T, restricted bool) []edited {
	t.Helper()
	var out []edited
	spots := places(restricted)
	for i, op := range operators() {
		for n := range 2 {
			s := spots[(i+n*3)%len(spots)] // another region and the other table
			out = append(out, edited{fmt.Sprintf("%s: %s.%s of %s", op.name, s.table, s.column, s.region), op.edit(t, s)})
		}
	}
	return out
}

// judge checks a directory.
func judge(t *testing.T, e edited) []flowfile.Diagnostic {
	t.Helper()
	dir := fstest.MapFS{}
	for _, name := range []string{"connections.yaml", "account-sync.yaml"} {
		dir[name] = &fstest.MapFile{Data: []byte(exampleText(t, name))}
	}
	for name, text := range e.dir {
		dir[name] = &fstest.MapFile{Data: []byte(text)}
	}
	report, err := check.Dir(dir, check.Options{})
	require.NoError(t, err)
	return slices.DeleteFunc(report.Problems, func(d flowfile.Diagnostic) bool { return d.Severity != flowfile.Error })
}

// distinct requires that no two directories are the same.
func distinct(t *testing.T, list []edited) {
	t.Helper()
	seen := map[[32]byte]string{}
	for _, e := range list {
		sum := sha256.Sum256(fmt.Append(nil, e.dir))
		require.Empty(t, seen[sum], e.name)
		seen[sum] = e.name
	}
}

func TestAHundredEditsThatLeakAreAllRefused(t *testing.T) {
	t.Parallel()
	list := append(applied(t, true), leakingSyncs(t)...)
	distinct(t, list)
	require.GreaterOrEqual(t, len(list), 100)
	for _, e := range list {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			problems := judge(t, e)
			require.NotEmpty(t, problems, "%v", e.dir)
			for _, p := range problems {
				require.Contains(t, []string{flowfile.CodeRestricted, flowfile.CodeWildcard}, p.Code, "the proof alone refuses it: %s", p)
			}
		})
	}
}

func TestAHundredHarmlessEditsAreNotRefused(t *testing.T) {
	t.Parallel()
	list := slices.Concat(applied(t, false), harmlessSyncs(t), withinRegions(t))
	distinct(t, list)
	require.GreaterOrEqual(t, len(list), 100)
	for _, e := range list {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			require.Empty(t, judge(t, e))
		})
	}
}
