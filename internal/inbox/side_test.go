package inbox_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/inbox"
)

// Processes that take events of one flow at the same time are inboxes on one database.

func TestNoDeliveryIsAcknowledgedBeforeItIsCommitted(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	release := make(chan struct{})
	held := make(chan struct{})
	var under sync.WaitGroup
	under.Go(func() {
		_ = b.store.Tx(t.Context(), func(tx pgx.Tx) error {
			_, err := tx.Exec(t.Context(), `lock table event in access exclusive mode`)
			close(held)
			<-release
			return err
		})
	})
	<-held
	began := time.Now()
	_, err := b.inbox.Accept(t.Context(), "cases", []flow.Occurrence{b.event("c1", 1)})
	close(release)
	under.Wait()
	require.Error(t, err, "it cannot be committed, so nobody is told that it is kept")
	require.Contains(t, []string{"store.commit_unknown", "store.unavailable"}, fault.Of(err).Code)
	require.Less(t, time.Since(began), 2*time.Second)
}

func TestProcessesSideBySideTakeAnEventOnce(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	other := inbox.New(b.store, b, b, inbox.Options{})
	const events = 40
	for n := range events {
		e := b.event(fmt.Sprintf("c%d", n), 1)
		var both sync.WaitGroup
		for _, x := range []*inbox.Inbox{b.inbox, other} {
			both.Go(func() {
				if _, err := x.Accept(t.Context(), "cases", []flow.Occurrence{e}); err != nil {
					t.Error(err)
				}
			})
		}
		both.Wait()
	}
	require.Len(t, b.fates(), events)
	require.Equal(t, []int64{events}, column[int64](b, `select n from funnel where stage = 'duplicate'`))
}

func TestAnEventIsInTheWindowThatIsFrozenOrInTheNext(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	other := inbox.New(b.store, b, b, inbox.Options{})
	const events = 150
	taken := make(chan struct{})
	go func() {
		defer close(taken)
		for n := range events {
			if _, err := b.inbox.Accept(t.Context(), "cases", []flow.Occurrence{b.event("c1", n+1)}); err != nil {
				t.Error(err)
			}
		}
	}()
	var list []inbox.Window
	for over := false; !over; {
		select {
		case <-taken:
			over = true
		default:
		}
		frozen, err := other.Freeze(t.Context(), "cases", 10)
		require.NoError(t, err)
		list = append(list, frozen...)
	}
	list = append(list, b.freeze()...)
	carried := 0
	for i, w := range list {
		net := w.Items[0]
		carried += net.Events
		if i > 0 {
			require.Equal(t, list[i-1].Items[0].Row["status"], net.Was["status"], "each window goes on where the one before it ended")
		}
	}
	require.Equal(t, events, carried)
	require.EqualValues(t, fmt.Sprint(events), list[len(list)-1].Items[0].Row["status"])
	require.Greater(t, len(list), 1)
}
