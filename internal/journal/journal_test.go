package journal_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/journal"
	"patchbay/internal/store"
	"patchbay/internal/store/storetest"
)

func write(t *testing.T, s *store.Store, entries ...journal.Entry) error {
	t.Helper()
	return s.Tx(t.Context(), func(tx pgx.Tx) error { return journal.Write(t.Context(), tx, entries...) })
}

func TestEntriesAreFoundByKeyAndByRunInTheirOrder(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	require.NoError(t, write(t, s,
		journal.Entry{Flow: "f", Run: "r1", What: "accepted", Reason: journal.Accepted, Keys: []string{"AS54888"}},
		journal.Entry{Flow: "f", Run: "r1", What: "effect", Reason: journal.Confirmed, Keys: []string{"AS54888", "ORDER-7"}, Detail: map[string]any{"target": "crm\x00"}},
		journal.Entry{Flow: "f", Run: "r1", What: "closed", Reason: journal.Delivered, Final: true},
		journal.Entry{Flow: "f", Run: "r2", What: "accepted", Reason: journal.Accepted, Keys: []string{"other"}},
	))
	j := journal.New(s)
	for key, want := range map[string]string{
		"AS54888": "accepted confirmed", "ORDER-7": "confirmed", "r1": "accepted confirmed delivered", "other": "accepted", "unknown": "", "": "",
	} {
		entries, err := j.Explain(t.Context(), key)
		require.NoError(t, err)
		require.NotNil(t, entries)
		var reasons []string
		for _, e := range entries {
			reasons = append(reasons, e.Reason)
		}
		require.Equal(t, want, strings.Join(reasons, " "), key)
	}
	entries, err := j.Explain(t.Context(), "ORDER-7")
	require.NoError(t, err)
	require.Equal(t, map[string]any{"target": "crm\uFFFD"}, entries[0].Detail)
	require.Equal(t, "UTC", entries[0].At.Location().String())
}

func TestASecondFinalReasonIsABugThatTakesItsTransactionWithIt(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	final := journal.Entry{Flow: "f", Run: "r", What: "closed", Reason: journal.Delivered, Final: true}
	require.NoError(t, write(t, s, final))
	err := write(t, s, journal.Entry{Flow: "f", Run: "r", What: "effect", Reason: journal.Confirmed}, final)
	require.Equal(t, "journal.second_final", fault.Of(err).Code)
	require.True(t, fault.Is(err, fault.Bug))
	entries, err := journal.New(s).Explain(t.Context(), "r")
	require.NoError(t, err)
	require.Len(t, entries, 1)
}

func TestExplainGivesTheNewestThousandOldestFirst(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	entries := make([]journal.Entry, 1003)
	for i := range entries {
		entries[i] = journal.Entry{Flow: "f", Run: fmt.Sprint(i), What: "accepted", Reason: journal.Accepted, Keys: []string{"k"}}
	}
	require.NoError(t, write(t, s, entries...))
	got, err := journal.New(s).Explain(t.Context(), "k")
	require.NoError(t, err)
	require.Len(t, got, 1000)
	require.Equal(t, "3", got[0].Run)
	require.Equal(t, "1002", got[999].Run)
}

func TestALongOrOddKeyIsFoundAsItWasGiven(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	for i, key := range []string{strings.Repeat("ä", 500), "a\x00b", "bad\xffutf8"} {
		require.NoError(t, write(t, s, journal.Entry{Flow: "f", Run: fmt.Sprint(i), What: "x", Reason: journal.Accepted, Keys: []string{key, key, ""}}))
		got, err := journal.New(s).Explain(t.Context(), key)
		require.NoError(t, err)
		require.Len(t, got, 1)
	}
	require.Equal(t, []string{"a", "b"}, journal.Keys("a", "", "b", "a"))
}

func TestTheApplicationCannotChangeThePast(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	for _, sql := range []string{`update journal set reason = 'x'`, `delete from journal`, `truncate journal`} {
		_, err := s.Pool().Exec(t.Context(), sql)
		require.Equal(t, "store.forbidden", fault.Of(store.Classify(err)).Code, sql)
	}
}
