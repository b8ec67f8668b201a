package app

import (
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
	"patchbay/internal/connector/dataverse"
	"patchbay/internal/connector/graph"
	"patchbay/internal/connector/ibm"
	"patchbay/internal/connector/imap"
	"patchbay/internal/connector/maersk"
	"patchbay/internal/connector/model"
	"patchbay/internal/connector/oracle"
	"patchbay/internal/connector/postgres"
	"patchbay/internal/connector/rest"
	"patchbay/internal/connector/sap"
	"patchbay/internal/connector/smtp"
	"patchbay/internal/flowfile"
)

func TestCheckKnowsWhichSystemsReadAndStoreDocuments(t *testing.T) {
	t.Parallel()
	for name, system := range map[string]any{
		dataverse.System: (*dataverse.Dataverse)(nil), graph.System: (*graph.Graph)(nil), ibm.System: (*ibm.IBM)(nil), imap.System: (*imap.IMAP)(nil),
		maersk.System: (*maersk.Maersk)(nil), model.System: (*model.Model)(nil), oracle.System: (*oracle.Oracle)(nil), postgres.System: (*postgres.Postgres)(nil),
		rest.System: (*rest.REST)(nil), sap.System: (*sap.SAP)(nil), smtp.System: (*smtp.SMTP)(nil),
	} {
		_, gives := system.(connector.DocumentReader)
		_, takes := system.(connector.DocumentWriter)
		require.Equal(t, gives, flowfile.GivesDocuments(name), "%s reads documents", name)
		require.Equal(t, takes, flowfile.TakesDocuments(name), "%s stores documents", name)
	}
}
