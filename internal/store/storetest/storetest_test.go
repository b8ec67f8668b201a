package storetest_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/store/storetest"
)

func TestEachTestHasItsOwnMigratedDatabase(t *testing.T) {
	t.Parallel()
	one, two := storetest.New(t), storetest.New(t)
	_, err := one.Pool().Exec(t.Context(), `insert into setting (name, value) values ('a', 'b')`)
	require.NoError(t, err)
	var n int
	require.NoError(t, two.Pool().QueryRow(t.Context(), `select count(*) from setting`).Scan(&n))
	require.Zero(t, n, "a row of one test must not be seen by another")
}
