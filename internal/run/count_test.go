package run_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhatBecameOfTheRowsIsPartOfTheRun(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	r, _ := b.accept("one")
	require.Nil(t, b.get(r.RunID).Completeness)
	require.NoError(t, b.book.Count(t.Context(), r.RunID, []byte(`{"sources":{},"target":{"keys":3}}`)))
	require.JSONEq(t, `{"sources":{},"target":{"keys":3}}`, string(b.get(r.RunID).Completeness))
	id, err := b.book.RunID(t.Context(), press("one"))
	require.NoError(t, err)
	require.Equal(t, r.RunID, id, "known before the press")
}
