package storetest_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
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

func TestCopiesOfAnOriginalHoldWhatItWasFilledWithOnceAndNothingOfEachOther(t *testing.T) {
	t.Parallel()
	exec := func(ctx context.Context, url, sql string) error {
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close(ctx) }()
		_, err = conn.Exec(ctx, sql)
		return err
	}
	filled := 0
	original := storetest.NewOriginal(func(ctx context.Context, url string) error {
		filled++
		return exec(ctx, url, `create table pet (name text); insert into pet values ('Rex')`)
	})
	t.Cleanup(original.Drop)
	one, two := original.Copy(t), original.Copy(t)
	require.Equal(t, 1, filled)
	require.NoError(t, exec(t.Context(), one, `delete from pet`))
	require.NoError(t, exec(t.Context(), two, `do $$ begin assert (select name from pet) = 'Rex'; end $$`))
}
