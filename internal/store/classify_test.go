package store_test

import (
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/store"
	"patchbay/internal/store/storetest"
)

// A request that the database is not to blame for keeps being tried while people
// put the database right: no run fails for good because a password was rotated.
func TestOnlyWhatTheRequestItselfCausedIsNotWorthAnotherTry(t *testing.T) {
	t.Parallel()
	for state, code := range map[string]string{
		"08006": "store.unavailable", "53300": "store.unavailable", "57P03": "store.unavailable", "58030": "store.unavailable",
		"25006": "store.unavailable", "28P01": "store.unauthorized", "28000": "store.unauthorized", "42501": "store.forbidden",
		"3D000": "store.missing", "3F000": "store.schema", "42P01": "store.schema", "42703": "store.schema", "42883": "store.schema",
		"40001": "store.contended", "40P01": "store.contended", "57014": "store.timeout", "55P03": "store.timeout",
		"0A000": "store.refused", "26000": "store.refused", "55000": "store.refused", "72000": "store.refused",
		"F0000": "store.refused", "XX000": "store.refused", "XX002": "store.refused",
	} {
		f := fault.Of(store.Classify(&pgconn.PgError{Code: state, Message: "secret"}))
		require.Equal(t, code, f.Code, state)
		require.True(t, f.Retryable(), state)
		require.NotContains(t, f.Error(), "secret")
	}
	for _, state := range []string{"21000", "22001", "22P05", "23502", "23505", "42601", "42804", "54000", "54011"} {
		f := fault.Of(store.Classify(&pgconn.PgError{Code: state}))
		require.Equal(t, "store.statement", f.Code, state)
		require.Equal(t, fault.Bug, f.Class, state)
	}
}

func TestAWrongPasswordIsWorthAnotherTry(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(storetest.URL(t))
	require.NoError(t, err)
	u.User = url.UserPassword(u.User.Username(), "rotated")
	_, err = store.Open(t.Context(), u.String(), store.Options{})
	requireFault(t, err, fault.Unavailable, "store.unauthorized")
}
