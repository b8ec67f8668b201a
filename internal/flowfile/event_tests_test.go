package flowfile_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flowfile"
)

func TestAFlowTestOfEventsShowsWhatDiffers(t *testing.T) {
	t.Parallel()
	const solved = `
    events:
      - source: crm.incident
        change: update
        was: { incidentid: c1, statuscode: 1, msx_customerfacing: true, title: Noise, ticketnumber: CAS-1, customer_email: ada@example.com }
        row: { statuscode: 5 }
        sent: [statuscode]
`
	for name, c := range map[string]struct{ flow, test, diff string }{
		"passes": {"event.yaml", solved + `        expect: taken
    expect:
      messages: [{ recipient: ada@example.com, subject: Case CAS-1, contains: [Noise, "5"] }]
`, ""},
		"another verdict": {"event.yaml", solved + `        expect: "filtered: where"
`, `- event 0 filtered: where
+ event 0 taken`},
		"a rejected event says why": {"event.yaml", `
    events:
      - { source: crm.incident, change: update, row: { statuscode: 5 }, expect: unchanged }
`, `- event 0 unchanged
+ event 0 rejected: where; there is no row.msx_customerfacing`},
		"another message": {"event.yaml", solved + `
    expect:
      messages: [{ recipient: bob@example.com, subject: Case CAS-2, contains: [Light] }, { recipient: eve@example.com }]
`, `- message 0 to bob@example.com
+ message 0 to ada@example.com
- message 0 subject Case CAS-2
+ message 0 subject Case CAS-1
- message 0 contains Light
+ message 0 reads "Your case Noise is 5.\n"
- message 1 to eve@example.com`},
		"a message too many": {"event.yaml", solved + `
    expect: { messages: [] }
`, `+ message 0 to ada@example.com`},
		"what is taken back is no message": {"event.yaml", solved + `
      - source: crm.incident
        change: update
        was: { incidentid: c1, statuscode: 5, msx_customerfacing: true, title: Noise, ticketnumber: CAS-1, customer_email: ada@example.com }
        row: { statuscode: 1 }
        expect: "filtered: transitions"
    expect:
      messages: [{ recipient: ada@example.com }]
`, ""},
		"a fault": {"event_read.yaml", `
    events:
      - { source: crm.annotation, change: create, row: { _objectid_value: c1 }, expect: taken }
    given: [{ incidentid: c1, title: A, customer_email: nobody, statuscode: 1 }]
    expect: { messages: [] }
`, `+ fault email.address: the recipient is no plain address of one mailbox: write it as name@example.com`},
		"the record that is read": {"event_read.yaml", `
    events:
      - { source: crm.annotation, change: create, row: { _objectid_value: c2 }, expect: taken }
      - { source: crm.annotation, change: create, row: { _objectid_value: c2 }, expect: taken }
    given:
      - { incidentid: c1, title: A, customer_email: a@example.com, statuscode: 1 }
      - { incidentid: c2, title: B, customer_email: b@example.com, statuscode: 2 }
    expect:
      messages: [{ recipient: b@example.com, subject: B, contains: [B is 2] }, { recipient: b@example.com }]
`, ""},
		"a record that is not there": {"event_read.yaml", `
    events:
      - { source: crm.annotation, change: create, row: { _objectid_value: c3 } }
    given: [{ incidentid: c1, title: A, customer_email: a@example.com, statuscode: 1 }]
    expect_fault: source.not_found
`, ""},
		"rows": {"event_write.yaml", `
    events:
      - { source: crm.incident, change: create, row: { incidentid: c1, ticketnumber: CAS-1, title: A } }
    expect:
      rows: [{ msx_productnumber: CAS-1, msx_attribute: A, msx_value: x }]
`, `- row 0 msx_value: "x"
+ row 0 msx_value: null`},
		"no events": {"event.yaml", `
    params: { key: a }
    expect: { messages: [] }
`, "an event flow is tested by events, and the test gives none"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			results, diags := flowfile.RunTests(eventPlan(t, c.flow, 0), flowfile.File{Name: "e_test.yaml", Data: []byte("tests:\n  - name: it" + c.test)})
			require.Empty(t, diags)
			require.Len(t, results, 1)
			require.Equal(t, c.diff, results[0].Diff)
		})
	}
	results, diags := flowfile.RunTests(validPlan(t), flowfile.File{Name: "t_test.yaml", Data: []byte("tests:\n  - name: it" + solved)})
	require.Empty(t, diags)
	require.Equal(t, "the test gives events, and the flow reacts to none", results[0].Diff)
}
