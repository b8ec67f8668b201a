package app

import (
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
)

func TestAMessageTellsOfEachRecordOfItsWindow(t *testing.T) {
	t.Parallel()
	plan := &flow.Plan{Flow: "cases", Pattern: flow.Event, Params: flow.EventParams(),
		Reaction: &flow.Reaction{On: []flow.Trigger{{Connection: "crm", Table: "case", Change: []flow.ChangeType{flow.Updated}, Key: "row.id"}}},
		Send:     &flow.Send{Recipient: "row.mail", Text: "{{range .Items}}{{.Source}} {{.Row.id}}\n{{end}}", Subject: "news"},
	}
	item := func(source, id string, row flow.Row) map[string]any {
		row["id"] = id
		return map[string]any{"key": "c1", "source": source, "row": row, "was": map[string]any{}, "changed": []any{"id"}, "change": "update"}
	}
	main := item("crm.note", "n1", flow.Row{})
	main["others"] = []any{item("crm.case", "c1", flow.Row{"mail": "ada@customer.example"})}
	params := flow.Row{"key": "c1", "window": "window-1", "items": []any{main}}
	s := newSystems(nil, &mappers{}, registry(), nil, 1)
	rows, err := s.Rows(t.Context(), plan, params)
	require.NoError(t, err)
	require.Len(t, rows, 2)
	sent, err := s.mappers.Map(plan, params, rows)
	require.NoError(t, err)
	require.Len(t, sent, 1)
	require.Equal(t, "crm.case c1\ncrm.note n1\n", sent[0]["text"])
	require.Equal(t, "ada@customer.example", sent[0]["recipient"], "the record that names one does, whichever changed last")
}
