package app

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
)

// Rows that were passed already change while others are still read. Whatever a run
// misses, the next one has.
func TestNothingIsStaleAfterTheNextSlotThoughRowsChangeWhileTheyAreRead(t *testing.T) {
	t.Parallel()
	b := newBenchBundle(t, 4_000)
	plan := benchPlan(true, false)
	plan.Bindings = map[string]flow.Binding{"erp": {System: "postgres", Identity: b.identity}}
	for i := range plan.Gather.Sources {
		plan.Gather.Sources[i].Page = 200
		plan.Gather.Sources[i].Changed.Overlap = 0 // so that it hides nothing
	}
	var one sync.Mutex
	dice := rand.New(rand.NewPCG(1, 2))
	n := 0
	edit := func(source string) { // 1 % of the rows, between every two pages
		one.Lock()
		defer one.Unlock()
		n++
		table := map[string]string{"customer": `update customer set name = 'Edited %d', changed = clock_timestamp() where right(id, 2) = '%02d'`,
			"receivable": `update receivable set amount = %d, changed = clock_timestamp() where right(customer, 2) = '%02d'`,
			"stock":      `update stock set quantity = %d, changed = clock_timestamp() where right(customer, 2) = '%02d'`}[source]
		b.exec(fmt.Sprintf(table, n, dice.IntN(100)))
	}
	for range 3 {
		b.between = edit
		b.round(plan)
		b.between = nil
		b.round(plan)
		require.Equal(t, 0, b.count(`select count(*) from (`+pictureReference+` except select * from picture) d`))
		require.Equal(t, b.rows, b.count(`select count(*) from picture`))
		_, joined := b.round(plan)
		require.Zero(t, joined.Changed, "and then there is nothing to write")
	}
	require.Positive(t, n)
}

// pictureReference is the target by SQL.
const pictureReference = `select c.id, c.name, c.region, c.credit, r.amount, r.overdue, r.invoices, s.item, s.quantity, s.place
	from customer c left join receivable r on r.customer = c.id left join stock s on s.customer = c.id`

func (b *benchBundle) count(sql string) (n int) {
	conn := b.conn()
	require.NoError(b, conn.QueryRow(b.Context(), sql).Scan(&n))
	require.NoError(b, conn.Close(b.Context()))
	return n
}
