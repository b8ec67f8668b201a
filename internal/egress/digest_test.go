package egress_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/egress"
	"patchbay/internal/fault"
)

// A region that asks gets what was made after it asked, of the flows in which it has a
// part, and nothing of others.
func TestDigestsAreGivenToThoseWhoAsk(t *testing.T) {
	t.Parallel()
	b := inhabited(t)
	ctx, account := t.Context(), b.table("account")
	fr, ch := b.dial("fr"), b.dial("ch")
	asked, err := b.egress.Asked(ctx, b.plan.Flow)
	require.NoError(t, err)
	require.Empty(t, asked)

	at, err := fr.Ask(ctx, b.plan.Flow, "account")
	require.NoError(t, err)
	answer, err := fr.Answered(ctx, b.plan.Flow, account, at)
	require.NoError(t, err)
	require.Nil(t, answer, "nobody has answered yet")
	asked, err = b.egress.Asked(ctx, b.plan.Flow)
	require.NoError(t, err)
	require.Equal(t, map[string]time.Time{"account": at}, asked)
	last, err := b.egress.Last(ctx, b.plan.Flow, "account")
	require.NoError(t, err)
	require.Positive(t, last)

	prints := []egress.Print{{N: 0, Rows: 2, Digest: 7, Entries: make([]byte, 32)}, {N: 1}, {N: 2, Rows: 1, Digest: -1, Entries: make([]byte, 16)}}
	require.NoError(t, b.egress.Publish(ctx, b.plan.Flow, account, at, map[string]int64{"fr": 3}, prints))
	answer, err = fr.Answered(ctx, b.plan.Flow, account, at)
	require.NoError(t, err)
	require.Equal(t, &egress.Answer{Parts: 3, Last: last, Received: map[string]int64{"fr": 3}}, answer)
	all, err := fr.Prints(ctx, b.plan.Flow, account, nil)
	require.NoError(t, err)
	require.Equal(t, []egress.Print{{N: 0, Rows: 2, Digest: 7}, {N: 1}, {N: 2, Rows: 1, Digest: -1}}, all, "without what nobody asked for")
	some, err := fr.Prints(ctx, b.plan.Flow, account, []int{2, 9})
	require.NoError(t, err)
	require.Equal(t, prints[2:], some)
	asked, err = b.egress.Asked(ctx, b.plan.Flow)
	require.NoError(t, err)
	require.Empty(t, asked)

	later, err := ch.Ask(ctx, b.plan.Flow, "account")
	require.NoError(t, err)
	require.True(t, later.After(at))
	answer, err = ch.Answered(ctx, b.plan.Flow, account, later)
	require.NoError(t, err)
	require.Nil(t, answer, "that was for an earlier question")
	require.NoError(t, b.egress.Publish(ctx, b.plan.Flow, account, later, nil, prints[:1]))
	all, err = ch.Prints(ctx, b.plan.Flow, account, nil)
	require.NoError(t, err)
	require.Len(t, all, 1, "parts that are no more are gone")

	// Of a flow in which it has no part, and of one that lets other columns cross.
	_, err = fr.Ask(ctx, "other", "account")
	requireFault(t, err, fault.NotFound, egress.CodeMissing)
	_, err = ch.Ask(ctx, "other", "account")
	require.NoError(t, err)
	asked, err = b.egress.Asked(ctx, "other")
	require.NoError(t, err)
	require.NoError(t, b.egress.Publish(ctx, "other", account, asked["account"], nil, prints))
	all, err = fr.Prints(ctx, "other", account, nil)
	require.NoError(t, err)
	require.Empty(t, all)
	wider := *account
	wider.Columns = columns("name", "telephone1", "emailaddress1", "diagnosis")
	_, err = ch.Answered(ctx, b.plan.Flow, &wider, later)
	requireFault(t, err, fault.Conflict, egress.CodeColumns)
}
