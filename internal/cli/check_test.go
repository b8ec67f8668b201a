package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flowfile"
)

const goodFlow = `flow: specs
pattern: instant
summary: Technical specifications of one product
params:
  product_id: { type: string, pattern: "^[A-Z0-9-]{3,40}$" }
read:
  from: plm.items
  where: { ItemNumber: params.product_id }
  select: [ItemNumber, ItemDescription]
  expand: { specs: ItemEffCategory }
each: row.specs
map:
  number: row.ItemNumber
  attribute: item.AttributeName
  value: item.AttributeValue
write: { to: crm.specification, key: [number, attribute] }
limits: { timeout: 30s, rows: 500 }
`

const goodConnections = `connections:
  plm:
    system: oracle
    url: https://plm.example.com
    auth: { kind: basic, username: patchbay, password: "${env:PLM_PASSWORD}" }
    tables:
      items:
        path: itemsV2
        keys: [[ItemNumber]]
        columns: { ItemNumber: string, ItemDescription: string, Weight: decimal }
        children:
          ItemEffCategory: { AttributeName: string, AttributeValue: string }
  crm:
    system: dataverse
    url: https://crm.example.com
    auth: { kind: none }
    tables:
      specification:
        path: specifications
        keys: [[number, attribute]]
        columns: { number: string, attribute: string, value: string }
`

// The bad flow files, by their number in the catalogue that the project goes by.
// Those that are not here do not apply by now:
//
//	F11, F13       A flow has one read and one write: no steps to form a circle or to
//	               come in a wrong order. What is used before it is there is F14.
//	F20, F21       An instant flow has no schedule; internal/flowfile has them of consolidations.
//	F22, in part   A timeout that is left out is 30 s; no activity is declared here.
//	F25, F26       internal/flowfile and internal/check have them, of synchronizations
//	               and of what is restricted in any flow.
//	F27            internal/check has it, of flows that react to what is written.
//	F28, F29       No flow sends mail.
//	F30            An edited file is a new plan beside the old one: no mistake, see
//	               TestAnEditedFlowIsNoMistake.
//	F32, F33       No flow computes or fans out.
//	F34            An open run keeps the plan it was accepted under.
//
// What a budget does at run time (F16) is in internal/expr.
type badFile struct {
	id, name string
	flow     []string // text of goodFlow and what stands there instead, in turn
	systems  []string // the same of goodConnections
	raw      string   // a whole flow file instead
	at       string   // what stands where the problem is; "" is the beginning of the file
	code     string
	what     string // is in the message
	fix      string // is in what to do
}

func badFiles() []badFile {
	const summary, product = "summary: Technical specifications of one product", `product_id: { type: string, pattern: "^[A-Z0-9-]{3,40}$" }`
	said := func(id, name, as string, what string) badFile {
		return badFile{id: id, name: name, flow: []string{summary, "summary: " + as}, at: as, code: flowfile.CodeType, what: what, fix: `quote it: "` + as + `"`}
	}
	cel := func(id, name, expression, at, code, what, fix string) badFile {
		return badFile{id: id, name: name, flow: []string{"value: item.AttributeValue", "value: " + expression}, at: at, code: code, what: what, fix: fix}
	}
	url := func(name, address, what, fix string) badFile {
		return badFile{id: "F19", name: name, systems: []string{"https://plm.example.com", address}, at: address, code: flowfile.CodeURL, what: what, fix: fix}
	}
	nested := "row.specs.all(a, row.specs.all(b, row.specs.all(c, row.specs.all(d, a == b && c == d))))"
	return []badFile{
		{id: "F01", name: "anchor", flow: []string{summary, "summary: &text Specifications"}, at: "&text", code: flowfile.CodeAlias, what: "anchor &text", fix: "write the value out"},
		{id: "F01", name: "alias", flow: []string{summary, "summary: &text Specifications\nwhy: *text"}, at: "*text", code: flowfile.CodeAlias, what: "alias *text", fix: "write the value out"},
		{id: "F01", name: "merge key", flow: []string{"limits: {", "limits: { <<: { queue: 1 },"}, at: "<<", code: flowfile.CodeAlias, what: "merge key", fix: "write the keys out"},
		{id: "F02", name: "duplicate key", flow: []string{"limits:", "why: one\nwhy : two\nlimits:"}, at: "why :", code: flowfile.CodeDuplicateKey, what: "stands twice, first in line 17", fix: "remove one"},
		{id: "F03", name: "tab", flow: []string{"  from:", "\tfrom:"}, at: "\tfrom", code: flowfile.CodeSyntax, what: "a tab", fix: "indent with spaces"},
		{id: "F03", name: "open brace", flow: []string{"rows: 500 }", "rows: 500"}, at: "limits:", code: flowfile.CodeSyntax, what: "no YAML", fix: "close the brace"},
		{id: "F03", name: "nothing", raw: "\n", code: flowfile.CodeSyntax, what: "empty", fix: "begin with flow: NAME"},
		{id: "F04", name: "unknown field", flow: []string{"rows: 500", "retyr: 3"}, at: "retyr", code: flowfile.CodeUnknownField, what: `"retyr" in limits`, fix: "known: timeout, rows"},
		{id: "F04", name: "misspelt field", flow: []string{"summary:", "sumry:"}, at: "sumry", code: flowfile.CodeUnknownField, what: `"sumry"`, fix: `did you mean "summary"?`},
		{id: "F05", name: "two documents", raw: goodFlow + "---\nflow: two\n", at: "---", code: flowfile.CodeDocuments, what: "second document", fix: "a file of its own"},
		{id: "F06", name: "more than 256 KiB", raw: goodFlow + strings.Repeat("# padding\n", 30_000), code: flowfile.CodeTooLarge, what: "at most 256", fix: "split it"},
		{id: "F07", name: "depth 33", flow: []string{summary, summary + "\nwhy: " + strings.Repeat("[", 31) + "deepest" + strings.Repeat("]", 31)}, at: "deepest", code: flowfile.CodeTooDeep, what: "deeper than 32", fix: ""},
		said("F08", "no", "no", "read as a boolean"), said("F08", "on", "on", "read as a boolean"), said("F08", "012", "012", "another base"), said("F08", "1:30", "1:30", "base of 60"),
		{id: "F09", name: "custom tag", flow: []string{"rows: 500", "rows: !mine 500"}, at: "!mine", code: flowfile.CodeTag, what: "!mine", fix: "remove it"},
		{id: "F09", name: "binary tag", flow: []string{summary, "summary: !!binary Z2VoZWlt"}, at: "!!binary", code: flowfile.CodeTag, what: "!!binary", fix: "remove it"},
		{id: "F10", name: "no name", flow: []string{"flow: specs\n", ""}, code: flowfile.CodeRequired, what: "flow is missing", fix: "a name that no other flow has"},
		{id: "F10", name: "odd name", flow: []string{"flow: specs", "flow: Product Specs"}, at: "Product Specs", code: flowfile.CodeID, what: "no name", fix: "lower-case letters"},
		{id: "F10", name: "name of another flow", flow: []string{"flow: specs", "flow: other"}, at: "other", code: flowfile.CodeID, what: "also in", fix: "another name"},
		{id: "F12", name: "unknown connection", flow: []string{"from: plm.items", "from: pml.items"}, at: "pml", code: flowfile.CodeUnknownConnection, what: `"pml"`, fix: `did you mean "plm"?`},
		{id: "F12", name: "unknown table", flow: []string{"from: plm.items", "from: plm.itmes"}, at: "itmes", code: flowfile.CodeUnknownTable, what: `"itmes"`, fix: `did you mean "items"?`},
		{id: "F12", name: "unknown column", flow: []string{"ItemDescription]", "ItemDescripton]"}, at: "ItemDescripton", code: flowfile.CodeUnknownColumn, what: `"ItemDescripton"`, fix: `did you mean "ItemDescription"?`},
		{id: "F12", name: "unknown kind of secret", systems: []string{"${env:PLM_PASSWORD}", "${vault:geheim}"}, at: `"${vault`, code: flowfile.CodeUnknownRef, what: "a reference that cannot be read", fix: "${env:NAME} or ${file:PATH}"},
		cel("F14", "ends too early", "item.AttributeValue +", "\nwrite", flowfile.CodeCEL, "ends too early", ""),
		cel("F14", "types", "row.ItemNumber + 1", "+ 1", flowfile.CodeCEL, "+ does not apply to (string, int)", ""),
		cel("F14", "not there yet", "itm.AttributeValue", "itm.", flowfile.CodeCEL, `no "itm" here`, `did you mean "item"?`),
		cel("F15", "cost", "string(size(row.specs.map(a, row.specs.map(b, row.specs.map(c, a.AttributeName + b.AttributeName + c.AttributeName)))))", "string(size", flowfile.CodeCELCost, "may cost more than 1000000", "nest fewer loops"),
		cel("F16", "four nested loops", "string("+nested+")", "string(row.specs", flowfile.CodeCELCost, "may cost more than 1000000", "nest fewer loops"),
		{id: "F17", name: "bad pattern", flow: []string{`"^[A-Z0-9-]{3,40}$"`, `"^[A-Z"`}, at: `"^[A-Z"`, code: flowfile.CodeRegex, what: "no regular expression", fix: "RE2"},
		{id: "F17", name: "1,001 characters", flow: []string{`"^[A-Z0-9-]{3,40}$"`, `"` + strings.Repeat("x", 1_001) + `"`}, at: `"xxx`, code: flowfile.CodeRegex, what: "longer than 1000", fix: ""},
		cel("F17", "bad pattern in an expression", `'string(row.ItemNumber.matches("("))'`, `"("`, flowfile.CodeRegex, "no regular expression", "RE2"),
		{id: "F18", name: "password", systems: []string{"${env:PLM_PASSWORD}", "geheim"}, at: `"geheim"`, code: flowfile.CodeInlineSecret, what: "(not shown)", fix: "replace the credential"},
		{id: "F18", name: "token", flow: []string{summary, "summary: Bearer 0123456789geheim0123456789"}, at: "Bearer", code: flowfile.CodeInlineSecret, what: "(not shown)", fix: "replace the credential"},
		url("not encrypted", "http://plm.example.com", "not encrypted", "https://"), url("a user", "https://admin:geheim@plm.example.com", "holds a user (not shown)", "auth"),
		url("private", "https://10.1.2.3", "private or in an odd form", "host's name"), url("metadata", "https://169.254.169.254", "private or in an odd form", "host's name"),
		url("decimal", "https://2130706433", "private or in an odd form", "host's name"), url("short", "https://127.1", "private or in an odd form", "host's name"),
		url("hexadecimal", "https://0x7f000001", "private or in an odd form", "host's name"), url("mapped", "https://[::ffff:127.0.0.1]", "private or in an odd form", "host's name"),
		{id: "F22", name: "25 h", flow: []string{"30s", "25h"}, at: "25h", code: flowfile.CodeTimeout, what: "longer than 24h", fix: "at most 24h"},
		{id: "F22", name: "no time", flow: []string{"30s", "0s"}, at: "0s", code: flowfile.CodeTimeout, what: "zero", fix: "such as 30s"},
		{id: "F22", name: "no unit", flow: []string{"30s", "30"}, at: "30,", code: flowfile.CodeType, what: "a duration is due", fix: "30s"},
		{id: "F23", name: "no key", flow: []string{", key: [number, attribute]", ""}, at: "{ to: crm", code: flowfile.CodeRetryUnsafe, what: "a retry would write each row again", fix: "add key: [number, attribute]"},
		{id: "F23", name: "a key the target does not have", flow: []string{"key: [number, attribute]", "key: [number]"}, at: "[number]", code: flowfile.CodeRetryUnsafe, what: "a retry may write a row twice", fix: "use key: [number, attribute]"},
		{id: "F24", name: "every column", flow: []string{"[ItemNumber, ItemDescription]", `[ItemNumber, "*"]`}, at: `"*"`, code: flowfile.CodeWildcard, what: `the pattern "*"`, fix: "name each column"},
		{id: "F24", name: "a pattern", flow: []string{"[ItemNumber, ItemDescription]", `[ItemNumber, "Item.*"]`}, at: `"Item.*"`, code: flowfile.CodeWildcard, what: `the pattern "Item.*"`, fix: "name each column"},
		{id: "F31", name: "no UTF-8", flow: []string{summary, summary + " \xff"}, at: "\xff", code: flowfile.CodeEncoding, what: "not UTF-8", fix: "save it as UTF-8"},
		{id: "F31", name: "bidi", flow: []string{"flow: specs", "flow: sp\u202eecs"}, at: "\u202e", code: flowfile.CodeEncoding, what: "U+202E", fix: "remove it"},
		{id: "F31", name: "a line that only some readers see", flow: []string{summary, summary + "\rwhy: geheim"}, at: "\r", code: flowfile.CodeEncoding, what: "U+000D", fix: "line feed"},
	}
}

// directory writes a directory with one flow and its connections, and one more flow.
func directory(t *testing.T, flow, connections string) string {
	t.Helper()
	dir := t.TempDir()
	// It fills no column that the flow at hand fills: two that do are warned of.
	other := strings.NewReplacer("flow: specs", "flow: other", "  value: item.AttributeValue\n", "").Replace(goodFlow)
	for name, text := range map[string]string{"specs.yaml": flow, "connections.yaml": connections, "another.yaml": other} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	return dir
}

// checked runs patchbay check and gives its problems, as JSON and as lines.
func checked(t *testing.T, dir string, status int) (problems []flowfile.Diagnostic, lines string) {
	t.Helper()
	var out, note bytes.Buffer
	require.Equal(t, status, execute(t.Context(), []string{"patchbay", "check", "--json", dir}, &out, &note), note.String()+out.String())
	var report struct{ Problems []flowfile.Diagnostic }
	require.NoError(t, json.Unmarshal(out.Bytes(), &report))
	out.Reset()
	require.Equal(t, status, execute(t.Context(), []string{"patchbay", "check", dir}, &out, &note))
	return report.Problems, out.String()
}

func TestABadFlowFileIsRefusedAtItsPlaceWithWhatToDo(t *testing.T) {
	t.Parallel()
	for _, c := range badFiles() {
		t.Run(c.id+" "+c.name, func(t *testing.T) {
			t.Parallel()
			flow, connections := c.raw, goodConnections
			if flow == "" {
				flow = replaced(t, goodFlow, c.flow)
			}
			name, text := "specs.yaml", flow
			if c.systems != nil {
				connections = replaced(t, goodConnections, c.systems)
				name, text = "connections.yaml", connections
			}
			dir := directory(t, flow, connections)
			problems, lines := checked(t, dir, exitUsage)
			want := fmt.Sprintf("%s:%s", filepath.Join(dir, name), place(t, text, c.at))
			var got []string
			for _, p := range problems {
				at := fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
				got = append(got, at+" "+p.Code+" "+p.Message)
				require.NotContains(t, p.Message+p.Fix, "geheim", "a secret is not shown")
				if p.Code != c.code || at != want {
					continue
				}
				require.Equal(t, flowfile.Error, p.Severity)
				require.Contains(t, p.Message, c.what)
				require.Contains(t, p.Fix, c.fix)
				require.Contains(t, lines, "error: "+want+": "+p.Message)
				require.Contains(t, lines, "("+c.code+")")
				return
			}
			t.Fatalf("%s %s is not among\n%s", want, c.code, strings.Join(got, "\n"))
		})
	}
}

func TestEveryMistakeOfAFileIsReportedInOnePass(t *testing.T) {
	t.Parallel()
	flow := replaced(t, goodFlow, []string{
		"summary: Technical specifications of one product", "summary: no",
		`"^[A-Z0-9-]{3,40}$"`, `"^[A-Z"`,
		"ItemDescription]", "ItemDescripton, \"*\"]",
		"value: item.AttributeValue", "value: item.AttributeValue +",
		"key: [number, attribute]", "key: [number]",
		"timeout: 30s, rows: 500", "timeout: 25h, rows: 0, retyr: 3",
	})
	connections := replaced(t, goodConnections, []string{"https://plm.example.com", "http://plm.example.com", "${env:PLM_PASSWORD}", "geheim"})
	problems, lines := checked(t, directory(t, flow, connections), exitUsage)
	var codes []string
	for _, p := range problems {
		codes = append(codes, fmt.Sprintf("%s:%d %s", filepath.Base(p.File), p.Line, p.Code))
	}
	require.Equal(t, []string{
		"connections.yaml:4 flow.url", "connections.yaml:5 flow.inline_secret",
		"specs.yaml:3 flow.type", "specs.yaml:5 flow.regex", "specs.yaml:9 flow.unknown_column", "specs.yaml:9 flow.wildcard", "specs.yaml:15 flow.cel",
		"specs.yaml:16 flow.retry_unsafe", "specs.yaml:17 flow.timeout", "specs.yaml:17 flow.range", "specs.yaml:17 flow.unknown_field",
	}, codes)
	require.Equal(t, len(problems), strings.Count(lines, "\n"))
}

func TestAnEditedFlowIsNoMistake(t *testing.T) {
	t.Parallel()
	for _, flow := range []string{goodFlow, strings.Replace(goodFlow, "rows: 500", "rows: 400", 1)} {
		problems, lines := checked(t, directory(t, flow, goodConnections), exitOK)
		require.Empty(t, problems)
		require.Empty(t, lines)
	}
}

func replaced(t *testing.T, text string, pairs []string) string {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		require.Equal(t, 1, strings.Count(text, pairs[i]), pairs[i])
		text = strings.Replace(text, pairs[i], pairs[i+1], 1)
	}
	return text
}

// place is line:column of a mark in a text, in characters.
func place(t *testing.T, text, mark string) string {
	t.Helper()
	before, _, found := strings.Cut(text, mark)
	require.True(t, found, mark)
	return fmt.Sprintf("%d:%d", 1+strings.Count(before, "\n"), 1+utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]))
}
