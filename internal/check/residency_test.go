package check_test

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"patchbay/flows"
	"patchbay/internal/check"
	"patchbay/internal/flow"
	"patchbay/internal/flowfile"
)

const clinicConnections = `regions:
  de: { egress: "${env:EGRESS_DE}" }
  fr: { egress: "${env:EGRESS_FR}" }
connections:
  clinic-de:
    system: postgres
    region: de
    url: postgres://de.example.com/clinic
    auth: { kind: none }
    tables:
      patient:
        path: public.patient
        keys: [[number]]
        restricted: [seen_at]
        columns: { number: string, name: string, diagnosis: string, ward: string, seen_at: timestamp }
      bed: { path: public.bed, keys: [[number]], columns: { number: string, label: string, about: string } }
  clinic-fr:
    system: postgres
    url: postgres://fr.example.com/clinic
    auth: { kind: none }
    tables:
      patient: { path: public.patient, keys: [[number]], columns: { number: string, name: string, diagnosis: string, ward: string, seen_at: timestamp } }
      bed: { path: public.bed, keys: [[number]], columns: { number: string, label: string, about: string } }
  reports-de:
    system: postgres
    region: de
    url: postgres://reports.example.com/de
    auth: { kind: none }
    tables: { seen: { path: seen, keys: [[number]], columns: { number: string, what: string } } }
  alias:
    system: postgres
    url: postgres://de.example.com/clinic/
    auth: { kind: none }
    tables:
      people: { path: Patient, keys: [[number]], columns: { number: string, diagnosis: string } }
      whole: { path: '"public"."patient"' }
  ledger:
    system: postgres
    url: postgres://ledger.example.com/ledger
    auth: { kind: none }
    tables:
      entry: { path: entry, keys: [[number]], restricted: [secret], columns: { number: string, what: string, secret: string } }
`

const clinicSync = `flow: clinic-sync
pattern: synchronization
summary: Patients of two regions
regions: { de: clinic-de, fr: clinic-fr }
tables:
  patient: { key: [number], allow: [name, ward] }
  bed: { key: [number], allow: [label] }
restricted: [patient.diagnosis]
`

// clinic checks connections, the synchronization and one more flow.
func clinic(t *testing.T, more string) []string {
	t.Helper()
	report, err := check.Dir(fstest.MapFS{"connections.yaml": {Data: []byte(clinicConnections)}, "clinic-sync.yaml": {Data: []byte(clinicSync)}, "more.yaml": {Data: []byte(more)}}, check.Options{Name: "flows"})
	require.NoError(t, err)
	var out []string
	for _, d := range report.Problems {
		if d.Severity == "error" {
			out = append(out, d.String())
		}
	}
	return out
}

const pressed = `flow: ask
pattern: instant
summary: Reads a patient
params: { number: { type: string, title: Number } }
read:
  from: clinic-de.patient
  where: { number: params.number }
  select: [number, name]
map: { number: row.number, what: row.name }
write: { to: ledger.entry, key: [number] }
`

const reacts = `flow: tell
pattern: event
summary: Copies a patient
on:
  - source: clinic-de.patient
    change: [update]
    key: row.number
sweep: 5m
map: { number: row.number, what: row.name }
write: { to: reports-de.seen, key: [number] }
`

func TestARestrictedValueIsFollowedToWhereItLeaves(t *testing.T) {
	t.Parallel()
	const by = "; it is restricted by clinic-sync (flow.restricted)"
	for name, c := range map[string]struct {
		base  string
		edit  []string
		wants []string
	}{
		"nothing leaves": {pressed, nil, nil},
		"by a map, to the target and the answer": {pressed, []string{"[number, name]", "[number, diagnosis]", "what: row.name", "what: row.diagnosis"}, []string{
			"flows/more.yaml:9:34: a restricted column would leave the region de: clinic-de.patient.diagnosis → select of more.yaml:8 → map.what → ledger.entry; leave it out, or give it to a system that connections.yaml says is in de" + by}},
		"to the answer alone": {pressed, []string{"[number, name]", "[number, diagnosis]", "what: row.name", "what: row.diagnosis", "ledger.entry", "reports-de.seen"}, []string{
			"flows/more.yaml:9:34: a restricted column would leave the region de: clinic-de.patient.diagnosis → select of more.yaml:8 → map.what → the answer to whoever presses; leave it out" + by}},
		"by a filter": {pressed, []string{"{ number: params.number }", "{ diagnosis: params.number }"}, []string{
			"flows/more.yaml:7:23: a restricted column would leave the region de: clinic-de.patient.diagnosis → where of more.yaml:7 → whether ledger.entry is told; decide by something else, or give it to a system that connections.yaml says is in de" + by}},
		"by an order key, which search attributes and IDs show": {pressed, []string{"{ number: params.number }", "{ diagnosis: params.number }", "write:", "order: [number]\nwrite:"}, []string{
			"flows/more.yaml:7:23: a restricted column would leave the region de: clinic-de.patient.diagnosis → where of more.yaml:7 → whether ledger.entry is told; decide by something else, or give it to a system that connections.yaml says is in de" + by,
			"flows/more.yaml:10:9: a restricted column would leave the region de: clinic-de.patient.diagnosis → where of more.yaml:7 → order → a key, which IDs, search attributes, explain and logs show; leave it out" + by}},
		"by a business key":      {reacts, []string{"key: row.number", "key: row.number + row.diagnosis"}, []string{"flows/more.yaml:7:10: a restricted column would leave the region de: clinic-de.patient.diagnosis → source of more.yaml:5 → on.key → a key, which IDs, search attributes, explain and logs show; leave it out" + by}},
		"to a system of another": {reacts, []string{"what: row.name", "label: row.diagnosis", "reports-de.seen", "clinic-fr.bed"}, []string{"flows/more.yaml:9:35: a restricted column would leave the region de: clinic-de.patient.diagnosis → source of more.yaml:5 → map.label → clinic-fr.bed; leave it out, or give it to a system that connections.yaml says is in de" + by}},
		"within the region":      {reacts, []string{"what: row.name", "what: row.diagnosis"}, nil},
		"by what it reacts to":   {reacts, []string{"key: row.number", "select: [diagnosis]\n    key: row.number", "reports-de.seen", "ledger.entry"}, []string{"flows/more.yaml:7:14: a restricted column would leave the region de: clinic-de.patient.diagnosis → source of more.yaml:5 → on.select → whether ledger.entry is told; decide by something else, or give it to a system that connections.yaml says is in de" + by}},
		"by a copy that the synchronization allows": {reacts, []string{"what: row.name", "label: row.diagnosis", "reports-de.seen", "clinic-de.bed"}, []string{
			"flows/clinic-sync.yaml:7:33: a restricted column would leave the region de: clinic-de.patient.diagnosis → source of more.yaml:5 → map.label → clinic-de.bed.label → allow of clinic-sync.yaml:7 → clinic-fr.bed; leave it out, or give it to a system that connections.yaml says is in de" + by}},
		"by a copy that stays": {reacts, []string{"what: row.name", "about: row.diagnosis", "reports-de.seen", "clinic-de.bed"}, nil},
		"by another connection to the same system": {reacts, []string{"clinic-de.patient", "alias.people", "what: row.name", "what: row.diagnosis", "reports-de.seen", "ledger.entry"}, []string{
			"flows/more.yaml:9:34: a restricted column would leave the region de: clinic-de.patient.diagnosis → source of more.yaml:5 → map.what → ledger.entry; leave it out, or give it to a system that connections.yaml says is in de" + by}},
		"by a record of which nobody says what it has": {reacts, []string{"clinic-de.patient", "alias.whole", "what: row.name", `what: 'row.exists(k, k == row.number) ? row.number : ""'`, "reports-de.seen", "ledger.entry"}, []string{
			"flows/more.yaml:9:34: a restricted column would leave the region de: clinic-de.patient.diagnosis → source of more.yaml:5 → map.what → ledger.entry; leave it out, or give it to a system that connections.yaml says is in de" + by,
			"flows/more.yaml:9:34: a restricted column would leave the region de: clinic-de.patient.seen_at → source of more.yaml:5 → map.what → ledger.entry; leave it out, or give it to a system that connections.yaml says is in de; it is restricted by connections.yaml (flow.restricted)"}},
		"of a system without a region": {reacts, []string{"clinic-de.patient", "ledger.entry", "what: row.name", "what: row.secret"}, []string{
			"flows/more.yaml:9:34: a restricted column would leave its system: ledger.entry.secret → source of more.yaml:5 → map.what → reports-de.seen; leave it out; it is restricted by connections.yaml (flow.restricted)"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.wants, clinic(t, change(t, c.base, c.edit...)))
		})
	}
}

func TestACursorShowsNothingRestricted(t *testing.T) {
	t.Parallel()
	const gathers = "flow: gathers\npattern: consolidation\nsummary: Patients that were seen\ngather:\n  patient:\n    from: clinic-de.patient\n    select: [number, ward, seen_at]\n    key: row.number\n    identity: [number]\n    one: true\n" +
		"    changed: { by: seen_at, overlap: 5m }\nmap: { number: key, what: patient.ward }\nwrite: { to: reports-de.seen, key: [number] }\n"
	require.Equal(t, []string{"flows/more.yaml:11:20: a restricted column would leave the region de: clinic-de.patient.seen_at → select of more.yaml:7 → changed.by → a cursor, which logs and the console show; leave it out; it is restricted by connections.yaml (flow.restricted)"},
		clinic(t, gathers))
	require.Empty(t, clinic(t, change(t, gathers, "    changed: { by: seen_at, overlap: 5m }\n", "", "patient.ward", "string(patient.seen_at)")), "to a system of the region everything may go")
}

func TestASystemIsInOneRegion(t *testing.T) {
	t.Parallel()
	files := func(connections, sync string) []string {
		report, err := check.Dir(fstest.MapFS{"connections.yaml": {Data: []byte(connections)}, "clinic-sync.yaml": {Data: []byte(sync)}}, check.Options{})
		require.NoError(t, err)
		var out []string
		for _, d := range report.Problems {
			if d.Severity == "error" {
				out = append(out, d.String())
			}
		}
		return out
	}
	require.Empty(t, files(clinicConnections, clinicSync))
	twice := files(change(t, clinicConnections, "    url: postgres://de.example.com/clinic/\n", "    region: fr\n    url: postgres://de.example.com/clinic/\n"), clinicSync)
	require.Contains(t, twice, "connections.yaml:7:13: clinic-de is in de, and another connection to the same system is in fr; say the same of both (flow.region)")
	require.Equal(t, []string{"clinic-sync.yaml:4:31: regions.fr: connections.yaml says that clinic-fr is in ch; name the connection of this region (flow.region)"},
		files(change(t, clinicConnections, "    url: postgres://fr.example.com/clinic\n", "    region: ch\n    url: postgres://fr.example.com/clinic\n"), clinicSync))
}

func TestAnotherNameOfASystemIsKnownByItsAddressToo(t *testing.T) {
	t.Parallel()
	// A process of one region resolves the connections of others to nothing but their text.
	identity := func(c flow.Connection) (string, error) {
		if strings.HasPrefix(c.Name, "clinic-") {
			return "unresolved " + c.Name, nil
		}
		return "resolved " + c.Name, nil
	}
	leaking := change(t, reacts, "clinic-de.patient", "alias.people", "what: row.name", "what: row.diagnosis", "reports-de.seen", "ledger.entry")
	report, err := check.Dir(fstest.MapFS{"connections.yaml": {Data: []byte(clinicConnections)}, "clinic-sync.yaml": {Data: []byte(clinicSync)}, "more.yaml": {Data: []byte(leaking)}},
		check.Options{Compile: flowfile.Options{Identity: identity}})
	require.NoError(t, err)
	require.True(t, slices.ContainsFunc(report.Problems, func(d flowfile.Diagnostic) bool { return d.Code == flowfile.CodeRestricted }), "%v", report.Problems)
}

func TestTheReportNamesEveryColumnThatCrosses(t *testing.T) {
	t.Parallel()
	report := run(t, flows.Files, check.Options{Name: "flows"})
	list := check.Crossings(report)
	require.Len(t, list, 6*4, "six borders, four tables")
	require.Equal(t, check.Crossing{
		Flow: "account-sync", File: "flows/account-sync.yaml", From: "ch", To: "de", Source: "dataverse-ch.account", Target: "dataverse-de.account",
		Columns: []string{"accountnumber", "emailaddress1", "name", "telephone1"},
	}, list[0])
	for _, c := range list {
		require.NotContains(t, strings.Join(c.Columns, " "), "msx_diagnosis")
		require.NotContains(t, strings.Join(c.Columns, " "), "msx_patientid")
	}

	more, err := check.Dir(fstest.MapFS{"connections.yaml": {Data: []byte(clinicConnections)}, "tell.yaml": {Data: []byte(change(t, reacts, "reports-de.seen", "ledger.entry"))}}, check.Options{})
	require.NoError(t, err)
	require.Equal(t, []check.Crossing{{Flow: "tell", File: "tell.yaml", From: "de", Source: "clinic-de.patient", Target: "ledger.entry", Columns: []string{"name", "number"}}},
		check.Crossings(more), "a system of no region is beyond the border too")
}
