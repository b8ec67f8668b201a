package flowfile

import (
	"fmt"
	"slices"

	"patchbay/internal/flow"
)

type (
	// alertsDoc says who is told when something is wrong.
	alertsDoc struct {
		at
		mail    alertMailDoc
		webhook alertWebhookDoc
		repeat  span
	}

	alertMailDoc struct {
		at
		connection setting
		to         list[setting, *setting]
	}

	alertWebhookDoc struct {
		at
		url    address
		secret secret
	}
)

func (d *alertsDoc) fields() []field {
	return []field{
		{key: "mail", into: &d.mail, doc: "By mail."},
		{key: "webhook", into: &d.webhook, doc: "By an HTTP POST, signed by Standard Webhooks."},
		{key: "repeat", into: &d.repeat, example: "1h", doc: "How long until people are told again of what lasts. Default 1h."},
	}
}

func (d *alertMailDoc) fields() []field {
	return []field{
		{key: "connection", into: &d.connection, required: true, example: "mail", doc: "A connection of the system smtp."},
		{key: "to", into: &d.to, required: true, example: []string{"ops@example.com"}, doc: "Addresses."},
	}
}

func (d *alertWebhookDoc) fields() []field {
	return []field{
		{key: "url", into: &d.url, required: true, example: "https://chat.example.com/hooks/patchbay", doc: "Where alerts are posted."},
		{key: "secret", into: &d.secret, required: true, example: "${env:ALERT_SECRET}", doc: "A reference to whsec_ and the base64 of the key that receivers check signatures with."},
	}
}

// alerts compiles the section. Its mail goes by a connection that sends mail.
func (r *reader) alerts(d *alertsDoc, connections []flow.Connection) flow.Alerting {
	var out flow.Alerting
	out.Repeat = d.repeat.value
	if d.mail.given() {
		out.Mail = &flow.AlertMail{Connection: d.mail.connection.value}
		for _, to := range d.mail.to.items {
			out.Mail.To = append(out.Mail.To, to.value)
		}
		name := d.mail.connection
		i := slices.IndexFunc(connections, func(c flow.Connection) bool { return c.Name == name.value })
		switch {
		case name.value == "":
		case i < 0:
			r.add(name.at, CodeUnknownConnection, fmt.Sprintf("alerts go by the connection %q, which is not declared", name.value), "name a connection of the system smtp")
		case connections[i].System != mailSystem:
			r.add(name.at, CodeUnknownConnection, fmt.Sprintf("alerts go by the connection %s, which is of the system %s and sends no mail", name.value, connections[i].System),
				"name a connection of the system smtp")
		case len(out.Mail.To) == 0:
			r.add(d.mail.at, CodeRequired, "alerts.mail.to names nobody", "add to: [ops@example.com]")
		}
	}
	if d.webhook.given() {
		out.Webhook = &flow.AlertWebhook{URL: d.webhook.url.value, Secret: d.webhook.secret.value}
	}
	return out
}
