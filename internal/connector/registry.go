package connector

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"patchbay/internal/fault"
)

type (
	// Builder makes the connector of one connection. What it returns implements
	// one or more of the capabilities of this package and binds nothing yet.
	Builder func(Config, Deps) (any, error)

	// Deps is what a connector needs from the process it lives in. The zero value
	// works for connections without references.
	Deps struct {
		// Resolve turns a text with references into its value; it is asked at each
		// use, so that a rotated secret is found. Its error is safe to show.
		Resolve func(text string) (string, error)
		// Client carries the requests; its redirect policy and timeout are not
		// used. Nil means a NewClient of the connector's own.
		Client *http.Client
		// Now is the clock; nil means time.Now.
		Now func() time.Time
		// Resting is told of each rest of the connection, because its system answers
		// nothing, and with a zero Rest when that is over; nil means nobody. Rested is
		// what others found, or a person decided; nil means nothing. Both must return
		// at once and not use the connection.
		Resting func(connection string, r Rest)
		Rested  func(connection string) Rest
		// Quota is asked before each request leaves; nil: the provider states no limits.
		Quota Quota
	}

	// Rest is that a system is left alone. The zero value: it is not.
	Rest struct {
		Since time.Time
		Until time.Time // then one request tries
		Times int       // rests in a row without an answer between them
		Why   string    // what the last failure was, or why it is held; safe to show
		Held  bool      // a person wants it so, for as long as that stands
	}

	// Quota is what the provider of the connection's system states as its limits, and
	// everybody shares who calls it.
	Quota interface {
		// Enter takes what a request uses, or says Throttled with the time to come again;
		// it may wait for a moment. leave is called when the request is over, with how
		// long it took, 0 when it was not sent.
		Enter(ctx context.Context, u Use) (leave func(took time.Duration), err error)
		// Silence says that the system asked to be left alone. It returns at once.
		Silence(d time.Duration)
	}

	// Use is what a request uses besides being one.
	Use struct {
		Messages int  // that it sends to people
		Urgent   bool // somebody waits for it: it may use what is reserved for that
	}

	// Registry knows the systems of this build. It is immutable.
	Registry struct {
		builders map[string]Builder
	}
)

// New makes a registry of builders by system name.
func New(builders map[string]Builder) *Registry {
	return &Registry{builders: maps.Clone(builders)}
}

// Build makes the connector of a connection.
func (r *Registry) Build(c Config, d Deps) (any, error) {
	build, ok := r.builders[c.System]
	if !ok {
		return nil, fault.Invalidf("connector.unknown_system", "connection %s: system %q is unknown; known are %s",
			c.Name, c.System, strings.Join(r.Systems(), ", "))
	}
	return build(c, d)
}

// Value is a text of a connection with its references resolved; the error names
// the connection and is safe to show.
func (d Deps) Value(connection, text string) (string, error) {
	if !strings.Contains(text, "${") {
		return text, nil
	}
	if d.Resolve == nil {
		return "", fault.Invalidf("connector.reference", "connection %s has references, but nothing here resolves them", connection)
	}
	value, err := d.Resolve(text)
	var f *fault.Fault
	if err != nil && !errors.As(err, &f) {
		err = fault.New(fault.Invalid, "connector.reference", "connection "+connection+" has a reference that cannot be resolved", err)
	}
	return value, err
}

// Systems names the known systems in order.
func (r *Registry) Systems() []string { return slices.Sorted(maps.Keys(r.builders)) }

// Table returns one table of the connection.
func (c Config) Table(name string) (Table, error) {
	t, ok := c.Tables[name]
	if !ok {
		return t, fault.Invalidf("connector.unknown_table", "connection %s has no table %q; it has %s",
			c.Name, name, strings.Join(slices.Sorted(maps.Keys(c.Tables)), ", "))
	}
	if t.Name == "" {
		t.Name = name
	}
	return t, nil
}

// ByKey gives what is asked for of rows that are read by key: its columns and the others,
// each once. No key, and columns that Check refuses, are Invalid.
func (t Table) ByKey(key, columns []string) ([]string, error) {
	selected := slices.Clone(key)
	for _, c := range columns {
		if !slices.Contains(selected, c) {
			selected = append(selected, c)
		}
	}
	if err := t.Check(selected...); err != nil {
		return nil, err
	}
	if len(key) == 0 {
		return nil, fault.Invalidf("connector.key", "a row of %s is asked for by no key column", t.Name)
	}
	return selected, nil
}

// Check refuses columns that the table does not have and, where its columns are
// unknown, whatever cannot be a column's name, so that no name can change what a
// request means.
func (t Table) Check(columns ...string) error {
	for _, c := range columns {
		if !isName(c) || (len(t.Columns) > 0 && !slices.Contains(t.Columns, c)) {
			return fault.Invalidf("connector.unknown_column", "table %s has no column %q", t.Name, c)
		}
	}
	return nil
}

func isName(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		if (c < 'a' || c > 'z') && s[i] != '_' && (i == 0 || s[i] < '0' || s[i] > '9') {
			return false
		}
	}
	return s != "" && len(s) <= 128
}
