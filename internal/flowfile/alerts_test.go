package flowfile_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
	"patchbay/internal/flowfile"
)

func TestAlertsGoByAConnectionThatSendsMail(t *testing.T) {
	t.Parallel()
	const mail = "connections:\n  mail: { system: smtp, url: smtp://mail.example.com:587, auth: { kind: none } }\n"
	c, problems := flowfile.ParseConnections(flowfile.File{Name: "connections.yaml", Data: []byte(mail +
		"alerts:\n  mail: { connection: mail, to: [ops@example.com] }\n  webhook: { url: \"https://chat.example.com/x\", secret: \"${env:ALERT_SECRET}\" }\n  repeat: 30m\n")})
	require.Empty(t, problems)
	require.Equal(t, flow.Alerting{Mail: &flow.AlertMail{Connection: "mail", To: []string{"ops@example.com"}},
		Webhook: &flow.AlertWebhook{URL: "https://chat.example.com/x", Secret: "${env:ALERT_SECRET}"}, Repeat: 30 * time.Minute}, c.Alerts)
	_, problems = flowfile.ParseConnections(flowfile.File{Name: "connections.yaml", Data: []byte(mail +
		"alerts:\n  mail: { connection: post, to: [ops@example.com] }\n  webhook: { url: \"https://chat.example.com/x\", secret: whsec_plain }\n")})
	codes := map[string]bool{}
	for _, p := range problems {
		codes[p.Code] = true
	}
	require.Equal(t, map[string]bool{flowfile.CodeUnknownConnection: true, flowfile.CodeInlineSecret: true}, codes)
}
