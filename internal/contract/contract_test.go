package contract_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"patchbay/internal/contract"
	"patchbay/internal/fault"
)

func TestAFaultSurvivesTheWayThroughAHistory(t *testing.T) {
	t.Parallel()
	f := fault.ThrottledFor(3*time.Second, "oracle.throttled", "too many requests", errors.New("https://user:secret@host")).
		With(fault.Field{Path: "params.id", Code: "field.required", Detail: "missing"})
	sent := contract.ToTemporal(fmt.Errorf("reading oracle-plm: %w", f))
	var app *temporal.ApplicationError
	require.ErrorAs(t, sent, &app)
	require.Equal(t, "oracle.throttled", app.Type())
	require.Equal(t, 3*time.Second, app.NextRetryDelay())
	require.False(t, app.NonRetryable())
	require.NotContains(t, sent.Error(), "secret")

	wire := temporal.GetDefaultFailureConverter()
	got := contract.FromTemporal(wire.FailureToError(wire.ErrorToFailure(sent)))
	require.Equal(t, f.Code, got.Code)
	require.Equal(t, f.Class, got.Class)
	require.Equal(t, f.After, got.After)
	require.Equal(t, f.Fields, got.Fields)
	require.NoError(t, errors.Unwrap(got), "the cause stays where it happened")
}

func TestOnlyWhatMayHelpIsTriedAgain(t *testing.T) {
	t.Parallel()
	for class, again := range map[fault.Class]bool{
		fault.Invalid: false, fault.Rejected: false, fault.NotFound: false, fault.Conflict: false, fault.Unauthorized: false,
		fault.Bug: false, fault.Throttled: true, fault.Unavailable: true, fault.InDoubt: true, // a write in doubt is read back
	} {
		var app *temporal.ApplicationError
		require.ErrorAs(t, contract.ToTemporal(fault.New(class, "x", "x", nil)), &app)
		require.Equal(t, again, !app.NonRetryable(), "%s", class)
	}
}

func TestAStrangersErrorShowsNothingButItsType(t *testing.T) {
	t.Parallel()
	got := contract.FromTemporal(contract.ToTemporal(errors.New("row (Jane Doe, diagnosis)")))
	require.Equal(t, fault.Bug, got.Class)
	require.NotContains(t, got.Error(), "Jane")
}

func TestACancellationIsNoFault(t *testing.T) {
	t.Parallel()
	require.Nil(t, contract.FromTemporal(contract.ToTemporal(context.Canceled)))
	require.Nil(t, contract.FromTemporal(nil))
	require.NoError(t, contract.ToTemporal(nil))
}

func TestAFlowMayTightenAProfileAndNeverLoosenIt(t *testing.T) {
	t.Parallel()
	p := contract.Interactive.Tighten(2 * time.Second)
	require.Equal(t, 2*time.Second, p.Total)
	require.Equal(t, 2*time.Second, p.Attempt)
	require.Equal(t, contract.Interactive, contract.Interactive.Tighten(time.Hour))
	require.Equal(t, contract.Delivery, contract.Delivery.Tighten(0))
}
