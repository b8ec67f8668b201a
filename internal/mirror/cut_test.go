package mirror_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
)

// The system of one region cuts a value that is written to it. It is said there, no region
// takes what is left for an edit, and whatever else changes of the record goes on.
func TestAValueThatOneSystemCutsStaysWholeInTheOthers(t *testing.T) {
	t.Parallel()
	names := []string{"ch", "de", "fr"}
	w := newWorld(t, sharing(), names...)
	w.run("fr", `create function cut() returns trigger language plpgsql as $$ begin new.name := left(new.name, 8); return new; end $$`)
	w.run("fr", `create trigger cut before insert or update on account for each row execute function cut()`)
	w.run("de", `insert into account select 'A' || n, 'Short ' || n, '0', n, 'x' from generate_series(1, 3) n`)
	w.work(names...)
	w.same(60 * time.Second)
	w.run("de", `update account set name = 'A name that is long' where accountnumber = 'A2'`)
	w.run("de", `insert into account values ('long', 'Another long name', '1', 1, 'x')`)
	fr := w.regions["fr"]
	cut := func() int64 {
		status, err := fr.replica.Status(t.Context(), fr.side.Place)
		require.NoError(t, err)
		return status[0].Open[flow.SyncTruncated]
	}
	require.Eventually(t, func() bool { return cut() == 2 }, 60*time.Second, 100*time.Millisecond)
	account, err := fr.replica.Account(t.Context(), fr.side.Place, "account", []string{`"A2"`})
	require.NoError(t, err)
	require.Equal(t, flow.SyncTruncated, account.Outcome)
	require.Equal(t, "connector.truncated", account.Code)

	// Somebody there edits the record: what the system has of the name is not theirs.
	w.run("fr", `update account set phone = '33' where accountnumber = 'A2'`)
	want := "account A1: Short 1, 0, 1\naccount A2: A name that is long, 33, 2\naccount A3: Short 3, 0, 3\naccount long: Another long name, 1, 1\n"
	for _, name := range []string{"de", "ch"} {
		require.Eventually(t, func() bool { return w.shared(name) == want }, 60*time.Second, 100*time.Millisecond, name)
	}
	require.Eventually(t, func() bool { return cut() == 2 }, 60*time.Second, 100*time.Millisecond)
	found, trouble, err := fr.side.Compare(t.Context())
	require.NoError(t, err)
	require.Empty(t, trouble)
	require.Zero(t, found[0].Drift, "%+v", found[0])
	require.EqualValues(t, 2, found[0].Pending, "%+v", found[0])
	require.Contains(t, w.shared("fr"), "account A2: Short 2, 33, 2\n", "its own stays as it was")
	for _, name := range []string{"de", "ch"} {
		require.Equal(t, want, w.shared(name))
	}

	// It is mended there, and tried again.
	w.run("fr", `drop trigger cut on account`)
	_, err = fr.replica.Retry(t.Context(), fr.side.Place, "account", nil)
	require.NoError(t, err)
	require.Equal(t, want, w.same(60*time.Second))
}
