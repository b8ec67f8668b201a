package mirror_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// deaf drops the slots of a region's system, so that its log keeps nothing for us.
func (w *world) deaf(region string) {
	w.Helper()
	require.Eventually(w, func() bool { // whoever read it is just leaving
		_, err := w.regions[region].erp.Exec(w.ctx, `select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = current_database()`)
		return err == nil
	}, time.Minute, 100*time.Millisecond)
}

// A system that lost our place cannot tell what was deleted meanwhile. A few records that
// are missing were deleted; many are a loss, and are written again. What was added and
// edited is told in both cases.
func TestWhatIsMissingAfterALostPlaceIsDeletedOnlyWhereItIsLittle(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		deleted int
		told    bool
	}{"few": {5, true}, "many": {150, false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, sharing(), "de", "fr")
			w.run("de", `insert into account select 'A' || n, 'Account ' || n, '0', n, 'x' from generate_series(1, 1000) n`)
			w.work("de", "fr")
			w.same(60 * time.Second)
			w.halt("fr")
			w.deaf("fr")
			w.run("fr", fmt.Sprintf(`delete from account where substr(accountnumber, 2)::int > %d`, 1000-test.deleted))
			w.run("fr", `update account set phone = '33' where accountnumber = 'A1'`)
			w.run("fr", `insert into account values ('B1', 'New', '1', 1, 'x')`)
			w.work("fr")
			left := 1001
			if test.told {
				left -= test.deleted
			}
			require.Eventually(t, func() bool {
				all := w.shared("de")
				return strings.Count(all, "\n") == left && strings.Contains(all, "account A1: Account 1, 33, 1\n") && strings.Contains(all, "account B1: New, ")
			}, 60*time.Second, 200*time.Millisecond)
			require.Equal(t, left, strings.Count(w.same(60*time.Second), "\n"), "and the region itself has the same")
			fr := w.regions["fr"]
			w.halt("fr")
			trouble := fr.done["export"].Trouble["account records"]
			require.Equal(t, test.told, trouble == nil)
			if !test.told {
				require.Equal(t, "sync.gone_many", trouble.Code)
				require.Contains(t, trouble.Text, "150 of 1000")
			}
		})
	}
}
