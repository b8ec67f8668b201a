package fault_test

import (
	"errors"
	"fmt"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
)

func TestDescribeNamesTypesAndFaultsAndNothingElse(t *testing.T) {
	t.Parallel()
	const secret = "hunter2"
	leak := &url.Error{Op: "Get", URL: "https://host/?key=" + secret, Err: errors.New(secret)}
	err := fmt.Errorf("reading %s: %w", secret, fault.New(fault.Unavailable, "x.down", "nobody answered", errors.Join(leak, errors.New(secret))))
	require.Equal(t, "*fmt.wrapError ← x.down: nobody answered ← [*url.Error ← *errors.errorString; *errors.errorString]", fault.Describe(err))
	require.Empty(t, fault.Describe(nil))
}
