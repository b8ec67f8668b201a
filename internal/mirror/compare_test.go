package mirror_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What is changed in a way that no reader hears of is found by comparing, and written
// again; what is as it should be is left alone.
func TestRecordsThatWereChangedBehindOurBackAreRepaired(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sharing(), "de", "fr")
	w.run("de", `insert into account select 'A' || n, 'Account ' || n, '0', n / 8.0, 'x' from generate_series(1, 3000) n`)
	w.run("de", `insert into contact select 'C' || n, 'Contact ' || n, 'A' || n, 'x' from generate_series(1, 200) n`)
	w.work("de", "fr")
	before := w.same(60 * time.Second)
	fr := w.regions["fr"]

	found, err := fr.side.Compare(t.Context())
	require.NoError(t, err)
	require.Len(t, found, 2)
	for _, c := range found {
		require.Zero(t, c.Drift, "%+v", c)
		require.Zero(t, c.InFlight, "%+v", c)
	}
	require.EqualValues(t, 3000, found[0].Records)

	// A write that carries our own mark is no edit to the reader; it only learns what the
	// system holds. Who forges it changes a record behind our back.
	tx, err := fr.erp.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `select pg_logical_emit_message(true, 'patchbay', 'patchbay:account-sync')`)
	require.NoError(t, err)
	for n := range 3 {
		_, err = tx.Exec(t.Context(), `update account set name = 'forged', credit = null where accountnumber = $1`, fmt.Sprintf("A%d", 1+n*700))
		require.NoError(t, err)
	}
	require.NoError(t, tx.Commit(t.Context()))
	require.Eventually(t, func() bool { return w.shared("fr") == before }, time.Minute, 200*time.Millisecond, "repaired")
	require.Equal(t, before, w.shared("de"), "and told to nobody")
}
