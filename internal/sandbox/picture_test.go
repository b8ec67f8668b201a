package sandbox_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/sandbox/seed"
)

func TestACustomersPictureAndPlanAreWrittenByItsNumber(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		customer := seed.Accounts(1)[0]
		at := "accounts(accountnumber='" + customer.Number + "')"
		require.Equal(t, customer.Name, b.dataverse(http.MethodGet, at+"?$select=name", "").json(t)["name"], "every system's customers are the environment's")
		require.Equal(t, http.StatusNoContent, b.dataverse(http.MethodPatch, at, `{"msx_openorders":3,"msx_overdue":12.5,"msx_asof":"2026-01-15T06:00:00Z","msx_lastorder":"2026-01-14"}`).status)
		plan := "msx_salesactionplans(msx_accountnumber='" + customer.Number + "')"
		require.Equal(t, http.StatusNoContent, b.dataverse(http.MethodPatch, plan,
			`{"msx_action":"call","msx_confidence":0.75,"msx_account@odata.bind":"/`+at+`"}`).status)
		row := b.dataverse(http.MethodGet, plan+"?$select=msx_action,msx_accountnumber&$expand=msx_account($select=msx_openorders,msx_lastorder)", "").json(t)
		require.Equal(t, customer.Number, row["msx_accountnumber"])
		require.Equal(t, "2026-01-14", row["msx_account"].(map[string]any)["msx_lastorder"])
		keys := b.dataverse(http.MethodGet, "EntityDefinitions(LogicalName='msx_salesactionplan')?$select=EntitySetName&$expand=Keys($select=KeyAttributes)", "").json(t)
		require.Equal(t, "msx_salesactionplans", keys["EntitySetName"])
		require.Equal(t, []any{"msx_accountnumber"}, keys["Keys"].([]any)[0].(map[string]any)["KeyAttributes"])
	})
}
