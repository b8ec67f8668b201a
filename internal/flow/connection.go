package flow

import "time"

type (
	// Connection is one entry of connections.yaml: where a system is, how to sign
	// in and how hard it may be worked. Text may hold references (${env:NAME},
	// ${file:PATH}) that only the process that dials resolves (promise 9).
	Connection struct {
		Name   string           `json:"name"`
		System string           `json:"system"`           // connector: "oracle", "dataverse", …
		Region string           `json:"region,omitempty"` // where the system is; what is restricted there leaves it by no flow
		URL    string           `json:"url"`
		Auth   Auth             `json:"auth"`
		Limits ConnectionLimits `json:"limits"`
		// Quotas are the limits that the provider states, shared by all processes;
		// Limits are of one process.
		Quotas []Quota `json:"quotas,omitempty"`
		// Budget is what may be spent on tables that have a Price; nil: any amount.
		Budget *Budget `json:"budget,omitempty"`
		// Hook is how deliveries of the system prove who sent them; nil: it sends none.
		Hook *Hook `json:"hook,omitempty"`
		// SettleAfter is how long the system may take to show a write, for one whose
		// writes are not decided by a key or a version.
		SettleAfter time.Duration     `json:"settle_after,omitempty"`
		Options     map[string]string `json:"options,omitempty"` // what the connector documents
		Tables      map[string]Table  `json:"tables"`
	}

	// Auth says how a connection signs in. Secrets are references.
	Auth struct {
		Kind         string `json:"kind"` // "none", "basic", "oauth2"
		TokenURL     string `json:"token_url,omitempty"`
		ClientID     string `json:"client_id,omitempty"`
		ClientSecret string `json:"client_secret,omitempty"`
		Scope        string `json:"scope,omitempty"`
		Username     string `json:"username,omitempty"`
		Password     string `json:"password,omitempty"`
		Expires      string `json:"expires,omitempty"` // the last day on which the credential is accepted, 2006-01-02
	}

	// ConnectionLimits bound what one process asks of a system.
	ConnectionLimits struct {
		PerSecond  float64       `json:"per_second,omitempty"` // 0: no limit of our own
		Burst      int           `json:"burst,omitempty"`
		Concurrent int           `json:"concurrent,omitempty"`
		Timeout    time.Duration `json:"timeout,omitempty"`   // of one request
		MaxBytes   int64         `json:"max_bytes,omitempty"` // of one answer
	}

	// Table names one resource of a system and, where known, its columns.
	Table struct {
		Name    string          `json:"name"`
		Path    string          `json:"path"`              // "itemsV2", "msx_specifications"
		Keys    [][]string      `json:"keys,omitempty"`    // each a unique key
		Columns map[string]Type `json:"columns,omitempty"` // empty: schema unknown
		// Price is what the provider takes for one question; the zero value: nothing.
		Price Money `json:"price,omitzero"`
		// Refers names, of a column whose value is the system's own ID of another record,
		// the table of that record.
		Refers     map[string]string `json:"refers,omitempty"`
		Restricted []string          `json:"restricted,omitempty"` // columns that leave the region by no flow (promise 5)
		Prose      []string          `json:"prose,omitempty"`      // columns of free text, besides those that their names tell of
		// Children are the schemas below an expand path, where known.
		Children map[string]map[string]Type `json:"children,omitempty"`
		// Expand gives the wire form of an expand path where the system's own name
		// is not enough, for example the flexfield contexts of one Oracle tenant.
		Expand map[string]string `json:"expand,omitempty"`
		// Where restricts every read of the table to rows with these values, for
		// example one organisation of a shared tenant. Keys are unique within it.
		Where map[string]string `json:"where,omitempty"`
	}
)

// Ending is how long before its last day a credential is told of.
const Ending = 30 * 24 * time.Hour

// Left says how long a credential is accepted after now; ok is false where nobody says.
// Its last day is counted whole, in UTC.
func (a Auth) Left(now time.Time) (left time.Duration, ok bool) {
	day, err := time.Parse(time.DateOnly, a.Expires)
	if err != nil {
		return 0, false
	}
	return day.AddDate(0, 0, 1).Sub(now), true
}

// Files reports whether the rows of the table are files: what else a row has is the
// connector's way to say which, and no column of the system.
func (t Table) Files() bool {
	for _, kind := range t.Columns {
		if kind == Document {
			return true
		}
	}
	return false
}
