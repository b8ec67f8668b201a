package sandbox_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/wiretest"
)

// The noted exchanges are what keeps one misreading of the documents from
// passing on both sides; here the stand-ins give the answers.
func TestStandInsAnswerAsTheVendorsDocument(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		for _, system := range []string{"login", "oracle", "ibm", "dataverse", "model", "sap", "maersk", "graph"} {
			list, err := wiretest.Load(system)
			require.NoError(t, err)
			vars := wiretest.Vars{"base": b.url + "/" + system, "token": b.token}
			for _, x := range list {
				if x.Fault != "" {
					require.Equal(t, http.StatusOK, b.do(http.MethodPut, "/_sandbox/faults/"+system, x.Fault).status, x.Name)
				}
				req, err := x.NewRequest(vars)
				require.NoError(t, err, x.Name)
				res, err := b.http.Do(req)
				require.NoError(t, err, x.Name)
				body, err := io.ReadAll(res.Body)
				require.NoError(t, err, x.Name)
				require.NoError(t, res.Body.Close())
				require.Empty(t, x.CheckResponse(res.StatusCode, res.Header, body, vars), "%s answered %d %s", x.Name, res.StatusCode, body)
			}
		}
	})
}
