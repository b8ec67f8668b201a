package run_test

import (
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
	"patchbay/internal/run"
	"patchbay/internal/store/storetest"
)

// migrate runs one direction of a migration as the owner does.
func migrate(t *testing.T, owner, sql string) {
	t.Helper()
	s := storetest.Open(t, owner)
	_, err := s.Pool().Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol)
	require.NoError(t, err)
}

func TestRunsThatWereOpenBeforeThereWereBatchesAreCarried(t *testing.T) {
	t.Parallel()
	file, err := os.ReadFile("../store/migrations/0002_batches.sql")
	require.NoError(t, err)
	up, down, ok := strings.Cut(string(file), "-- +goose Down")
	require.True(t, ok)
	d := storetest.NewDatabase(t)
	// Only fresh sessions: the plans of older ones know the columns as they were.
	before := bundleOn(t, d.App)
	unrelayed, first := before.accept("unrelayed")
	running, second := before.accept("running")
	item := before.begin(second.BatchID, "reading")
	done, third := before.accept("done")
	require.NoError(t, before.book.Answer(t.Context(), before.begin(third.BatchID, "reading"), answer(1), "", true, true))
	unclaimed, _ := before.accept("unclaimed")

	migrate(t, d.Owner, down)
	migrate(t, d.Owner, `update work set batch_id = null where run_id = '`+unclaimed.RunID+`'`)
	var lapsing, handed int
	old := storetest.Open(t, d.Owner)
	require.NoError(t, old.Pool().QueryRow(t.Context(), `select count(lease_until), count(relayed_at) from work`).Scan(&lapsing, &handed))
	require.Equal(t, []int{4, 2}, []int{lapsing, handed}, "the way down keeps leases and marks")
	migrate(t, d.Owner, up+`grant select, insert, update on batch to `+role(t, d.App))

	b := bundleOn(t, d.App)
	b.lapse(unrelayed.RunID)
	require.Equal(t, []run.Start{first}, b.due(), "the same batch under the same workflow ID")
	require.NoError(t, b.book.Answer(t.Context(), item, answer(2), "", true, true), "an activity at work does not notice")
	require.Equal(t, flow.Completed, b.get(running.RunID).Status)
	require.Equal(t, []string{"delivered"}, b.finals(done.RunID))
	var waiting, settled int
	require.NoError(t, b.store.Pool().QueryRow(t.Context(), `
		select (select count(*) from work where batch_id is null and leader is null), (select count(*) from batch where settled_at is not null)`).
		Scan(&waiting, &settled))
	require.Equal(t, []int{1, 2}, []int{waiting, settled}, "a row without a claim waits for one")
}

func role(t *testing.T, url string) string {
	cfg, err := pgx.ParseConfig(url)
	require.NoError(t, err)
	return pgx.Identifier{cfg.User}.Sanitize()
}
