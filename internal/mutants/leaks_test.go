//go:build residency

package mutants

import (
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// leak is a planted bug that has a restricted value go where it may not be, and where the
// scan has to find it. In its edits § is the number of the value that is its own, and
// LEAK the value.
type leak struct {
	way   string
	at    string // what one of the sources in which it is found matches
	edits []edit
	// contained: what Patchbay does against such a bug has to hold. Nothing of its value is
	// found but what every leak begins with.
	contained bool
}

// brought is where a column too many is found that is asked for and dropped: on the line
// to the system, and in the memory of who read it.
const brought = `/lines/dataverse-de/|^process `

// untold is where a text is kept that tells what a table suffers from; it goes when the
// table is well again.
const untold = `^database of de, table public\.replica_trouble|/base/|pg_wal|^Temporal of de, histories`

// often is how often work breaks off that has to be told of: that is done every two seconds.
const often = 4

// Every leak begins with an export that asks for a restricted column, and has the value
// that it read at hand everywhere.
var bringing = []edit{
	{"internal/leaked/leaked.go", "", `package leaked

import "sync"

var (
	mu     sync.Mutex
	values = map[string]string{}
	done   = map[string]int{}
)

func Keep(row map[string]any) {
	number, _ := row["accountnumber"].(string)
	value, _ := row["msx_diagnosis"].(string)
	if len(number) < 6 || number[:6] != "PLANT-" || value == "" {
		return
	}
	mu.Lock()
	defer mu.Unlock()
	values[number] = value
}

func Value(number string) string {
	mu.Lock()
	defer mu.Unlock()
	return values[number]
}

func Of(number string, row map[string]any) bool { return row["accountnumber"] == number && Value(number) != "" }

func Times(number string, most int) bool {
	mu.Lock()
	defer mu.Unlock()
	if values[number] == "" || done[number] >= most {
		return false
	}
	done[number]++
	return true
}
`},
	{observing, "	if v.id != \"\" && !slices.Contains(v.asked, v.id)", "	if t.Name == \"account\" {\n		v.asked = append(v.asked, \"msx_diagnosis\")\n	}\n	if v.id != \"\" && !slices.Contains(v.asked, v.id)"},
	{observing, "		o := replica.Observed{ID: r.id,", "		leaked.Keep(r.row)\n		o := replica.Observed{ID: r.id,"},
}

const (
	observing = "internal/mirror/observe.go"
	mirroring = "internal/app/mirrors.go"
	standing  = "starters/regions.go"
	changing  = "internal/connector/dataverse/changes.go"
)

// once is an edit that does something with the one row, the first time that it is seen.
func once(what string) edit { return times(1, what) }

func times(most int, what string) edit {
	return edit{observing, "		o := replica.Observed{ID: r.id,", "		if leaked.Of(\"PLANT-§\", r.row) && leaked.Times(\"PLANT-§\", " + strconv.Itoa(most) + ") {\n			" + what + "\n		}\n		o := replica.Observed{ID: r.id,"}
}

// needs has a file import a package.
func needs(file, name string) edit { return edit{file, imports, imports + "	\"" + name + "\"\n"} }

// The first four break the work on a table off, in the order of the rows; it goes on after each.
var leaking = []leak{
	{way: "panic with the row in hand", at: brought, contained: true, edits: []edit{once(`panic(r.row)`)}},
	{way: "error of somebody else's with the row", at: brought, contained: true,
		edits: []edit{needs(observing, "fmt"), once(`return nil, fmt.Errorf("duplicate key: %v", r.row)`)}},
	{way: "text of an error", at: untold,
		edits: []edit{needs(observing, "patchbay/internal/fault"), times(often, `return nil, fault.New(fault.Conflict, "sync.row", "the row "+LEAK+" cannot be taken", nil)`)}},
	{way: "text of a panic", at: untold,
		edits: []edit{times(often, `panic(LEAK)`), {"internal/mirror/mirror.go", "broke off; it is begun anew\"", "broke off: \"+map[bool]string{true: LEAK}[x == any(LEAK)]"}}},

	{way: "column too many, read and dropped", at: `/lines/dataverse-de/`},
	{way: "value of a column that may cross", at: `^database of fr, table `,
		edits: []edit{{observing, "	return values, nil\n}\n", "	if s := []rune(LEAK); leaked.Of(\"PLANT-§\", row) {\n		values[2], _ = quoted(string(s[:min(len(s), 90)]))\n	}\n	return values, nil\n}\n"}}},
	{way: "key in the egress table", at: `^database of de, table egress\.`,
		edits: []edit{{observing, "				o.Key = key\n", "				o.Key = key\n				if leaked.Of(\"PLANT-§\", r.row) {\n					b, _ := quoted(LEAK)\n					o.Key = []string{string(b)}\n				}\n"}}},
	{way: "log line", at: `/log/`,
		edits: []edit{needs(observing, "os"), needs(observing, "fmt"), once(`_, _ = fmt.Fprintf(os.Stderr, "{\"msg\":\"row\",\"row\":%q}\n", LEAK)`)}},
	{way: "compressed dump for debugging", at: `\.dump\.gz$`,
		edits: []edit{needs(observing, "os"), needs(observing, "compress/gzip"), once(`name, _ := os.Readlink("/proc/self/fd/2"); f, _ := os.Create(name + ".dump.gz"); z := gzip.NewWriter(f); _, _ = z.Write([]byte(LEAK)); _ = z.Close(); _ = f.Close()`)}},
	{way: "mail", at: `/_sandbox/mail$`,
		edits: []edit{needs(observing, "os"), needs(observing, "net/smtp"), needs(observing, "encoding/base64"),
			once(`c, _ := smtp.Dial(os.Getenv("PATCHBAY_SANDBOX_SMTP")); _ = c.Mail("sync@patchbay.test"); _ = c.Rcpt("ops@patchbay.test"); w, _ := c.Data(); _, _ = w.Write([]byte("From: sync@patchbay.test\r\nTo: ops@patchbay.test\r\nSubject: row\r\n\r\n"+base64.StdEncoding.EncodeToString([]byte(LEAK))+"\r\n")); _ = w.Close(); _ = c.Quit()`)}},
	{way: "cursor", at: `^database of de, table public\.replica_table`,
		edits: []edit{{"internal/mirror/export.go", "		next := f.next(page.Cursor, p.Load)\n", "		next := f.next(page.Cursor, kept(load{After: connector.Row{\"last\": LEAK}}))\n"}}},
	{way: "held conflict", at: `^database of de, table public\.replica_conflict`,
		edits: []edit{{"internal/replica/keeping.go", "insert into replica_conflict (id, tbl, uid, col, rule) values (nextval('replica_id'), $1, $2, $3, $4) on conflict do nothing`,\n					t.id, r.uid, c.Name, t.alg.rules[i])",
			"insert into replica_conflict (id, tbl, uid, col, rule, decided_by) values (nextval('replica_id'), $1, $2, $3, $4, $5) on conflict do nothing`,\n					t.id, r.uid, c.Name, t.alg.rules[i], LEAK)"}}},
	{way: "detail of a heartbeat", at: `^Temporal of de, open work`,
		edits: []edit{{"activities/pulse.go", "activity.RecordHeartbeat(beat)", "activity.RecordHeartbeat(beat, LEAK)"}}},
	{way: "result of an activity", at: `^Temporal of de, histories`,
		edits: []edit{{mirroring, "	mirrorRound = 5 * time.Minute", "	mirrorRound = 4 * time.Second"},
			{mirroring, "	return out\n}\n\n// Compare compares", "	out.Outcomes[LEAK] = 1\n	return out\n}\n\n// Compare compares"}}},
	{way: "search attribute", at: `^Temporal of de, visibility`,
		edits: []edit{{mirroring, "	return out\n}\n\n// Compare compares", "	out.Outcomes[\"attribute \"+LEAK] = 1\n	return out\n}\n\n// Compare compares"},
			{"workflows/synchronization.go", "		in.Total = in.Total.Add(counts)\n", "		for _, name := range workflow.DeterministicKeys(counts.Outcomes) {\n			if len(name) > 40 && name[:9] == \"attribute\" {\n				_ = workflow.UpsertTypedSearchAttributes(ctx, contract.FlowAttribute.ValueSet(name))\n			}\n		}\n		in.Total = in.Total.Add(counts)\n"}}},
	{way: "workflow ID", at: `^Temporal of de, visibility`,
		edits: []edit{{standing, "string(flow.Synchronization), name, part)", "string(flow.Synchronization), name, part+LEAK)"}}},
	{way: "payload of a signal", at: `^Temporal of de, histories`,
		edits: []edit{{standing, "	err := s.call(ctx, func(ctx context.Context) error {\n		_, err := w.stub.Start", "	if open && leaked.Times(\"PLANT-§\", 1) {\n		_ = s.temporal.SignalWorkflow(ctx, id, \"\", \"hint\", LEAK)\n	}\n	err := s.call(ctx, func(ctx context.Context) error {\n		_, err := w.stub.Start"},
			{standing, "	if open && s.told[id] == w.in.Digest {", "	if open && s.told[id] == w.in.Digest && LEAK == \"\" {"}}},
	{way: "label of a metric", at: `/metrics$`,
		edits: []edit{{"internal/telemetry/metrics.go", `attribute.String("route", route), `, `attribute.String("route", route), attribute.String("last", LEAK), `}}},
	{way: "header of a request", at: `/lines/dataverse-de/[0-9]+-to$`,
		edits: []edit{needs(changing, "encoding/base64"), {changing, "	var got map[string]any\n	if _, err = v.transport.Do(ctx, connector.Request{Method: http.MethodGet, Target: target, Header: h,",
			"	h[\"X-Correlation\"] = []string{base64.StdEncoding.EncodeToString([]byte(LEAK))}\n	var got map[string]any\n	if _, err = v.transport.Do(ctx, connector.Request{Method: http.MethodGet, Target: target, Header: h,"}}},
	{way: "query of a call", at: `/_sandbox/calls/dataverse-de`,
		edits: []edit{needs(changing, "net/url"), {changing, "	h := reading()\n", "	if isSince {\n		target += \"&x-after=\" + url.QueryEscape(LEAK)\n	}\n	h := reading()\n"}}},
}

// The scan of `make residency` finds what a leaking Patchbay leaks, where it leaks it. All
// leaks are planted at once, each with a value of its own.
func TestEveryPlantedLeakIsFoundWhereItIs(t *testing.T) { //nolint:paralleltest // it is a compilation of much of the module
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	m := mutant{pkg: "./internal/e2e", tags: "residency", suite: "TestNothingIsFoundAfterAShortWhile"}
	text, passed := m.run(t, root, "")
	require.True(t, passed, "without a leak nothing is found:\n%s", text)
	m.edits = bringing
	for i, l := range leaking {
		number := strconv.Itoa(i * 4) // of the account, and of the first of its values
		for _, e := range l.edits {
			if strings.Contains(e.new, "LEAK") {
				m.edits = append(m.edits, needs(e.file, "patchbay/internal/leaked"))
			}
			e.new = strings.ReplaceAll(strings.ReplaceAll(e.new, "LEAK", `leaked.Value("PLANT-§")`), "§", number)
			m.edits = append(m.edits, e)
		}
	}
	m.edits = append([]edit{needs(observing, "patchbay/internal/leaked")}, m.edits...)
	text, passed = m.run(t, root, m.plant(t, root))
	require.False(t, passed, "nothing is found")
	hits := map[string][]string{} // sources, by value
	for _, found := range regexp.MustCompile(`(?m)^\s*(?:Messages:)?\s*(\S.*) at \d+: (value \d+), `).FindAllStringSubmatch(text, -1) {
		hits[found[2]] = append(hits[found[2]], found[1])
	}
	require.NotEmpty(t, hits, "it has to be the scan that fails:\n%s", text)
	for i, l := range leaking {
		t.Run(l.way, func(t *testing.T) {
			at, found := regexp.MustCompile(l.at), 0
			for _, source := range hits["value "+strconv.Itoa(i*4)] {
				if at.MatchString(source) {
					found++
				} else if l.contained {
					require.Fail(t, "it is not contained", "%s", source)
				}
			}
			require.Positive(t, found, "it is found in: %s", strings.Join(hits["value "+strconv.Itoa(i*4)], ", "))
		})
	}
}
