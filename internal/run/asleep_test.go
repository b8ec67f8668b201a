package run_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
)

func TestRunsThatSleepForOneConnectionHideNoneOfAnother(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	first, _ := b.accept("")
	asleep := func(connection string) string {
		return flow.Obstacle{Connection: connection, After: flow.Asleep, Why: "x: y"}.String()
	}
	b.exec(`update work set waiting = $1, batch_id = 'b0'`, asleep("sap"))
	b.exec(`insert into work (run_id, flow, pattern, principal, body_sha256, params, digest, timeout, deadline_at, accepted_at, waiting, batch_id)
		select 'r' || n, flow, pattern, principal, body_sha256, params, digest, timeout, deadline_at, accepted_at + n * interval '1 s',
		       case when n = 4 then $1 when n = 5 then 'waiting 1s for sap: x' else waiting end, 'b' || n
		from work, generate_series(1, 5) as n`, asleep("oracle"))
	list, err := b.book.Asleep(t.Context(), 2)
	require.NoError(t, err)
	var got []string
	for _, s := range list {
		got = append(got, s.BatchID+" "+s.Connection)
	}
	require.Equal(t, []string{"b0 sap", "b1 sap", "b4 oracle"}, got, "of %s and others", first.RunID)
	require.Equal(t, "instant/"+first.Flow+"/b4", list[2].WorkflowID)
}
