package flow

import "time"

// Alert is something that is wrong, of one cause: it lasts until it is over.
type Alert struct {
	ID       int64      `json:"id"`
	Flow     string     `json:"flow,omitempty"` // empty: of no single flow
	Kind     string     `json:"kind"`
	Code     string     `json:"code"`
	Text     string     `json:"text"`             // what is wrong, safe to show
	Sample   string     `json:"sample,omitempty"` // one that it is about, safe to show
	Link     string     `json:"link,omitempty"`   // path of the console's page of it
	Count    int64      `json:"count"`
	First    time.Time  `json:"first"`
	Last     time.Time  `json:"last"`
	Told     int        `json:"told"` // how often it was put on its way to people
	Resolved *time.Time `json:"resolved,omitempty"`
}

type (
	// Alerting says who is told of alerts, besides the console. Secrets are references
	// (promise 9).
	Alerting struct {
		Mail    *AlertMail    `json:"mail,omitempty"`
		Webhook *AlertWebhook `json:"webhook,omitempty"`
		Repeat  time.Duration `json:"repeat,omitempty"` // between two messages of one alert; 0: an hour
	}

	// AlertMail sends mail by a connection of system smtp.
	AlertMail struct {
		Connection string   `json:"connection"`
		To         []string `json:"to"`
	}

	// AlertWebhook posts to a URL, signed by Standard Webhooks.
	AlertWebhook struct {
		URL    string `json:"url"`
		Secret string `json:"secret"` // "whsec_…", a reference
	}
)
