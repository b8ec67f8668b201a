package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"patchbay/activities"
	"patchbay/internal/connector"
	"patchbay/internal/connector/cloudevents"
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
	"patchbay/internal/connector/webhook"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/quota"
	"patchbay/internal/stop"
)

type (
	// connections gives a connection as it was applied last.
	connections interface {
		Connection(ctx context.Context, name string) (flow.Connection, error)
	}

	// systems opens the connections a plan names and serves activities.Source and
	// activities.Target with them. A connector is built once for a configuration
	// and shared; it is safe for concurrent use.
	systems struct {
		connections connections
		mappers     *mappers
		registry    *connector.Registry
		resolve     func(string) (string, error)
		speed       float64
		region      string // of this process; connections of another are not dialled
		client      *http.Client
		quotas      *quota.Quotas // nil: nothing is shared
		stops       *stop.Stops   // nil: as quotas
		checks      checks        // nil: no documents

		mu     sync.Mutex
		built  map[string]opened // by connection
		lately map[asked]found   // what was opened a moment ago: thousands of deliveries come in a second
	}

	// asked is a connection of a plan, which is known by its address.
	asked struct {
		plan *flow.Plan
		name string
	}

	found struct {
		system any
		until  time.Time
	}

	opened struct {
		config string // the configuration it was built from
		system any
		urgent any // the same, for those who wait for it
	}

	// meter is what of a connection's quotas is used, as connectors ask for it.
	meter struct{ *quota.Meter }
)

func newSystems(c connections, m *mappers, registry *connector.Registry, resolve func(string) (string, error), speed float64) *systems {
	return &systems{connections: c, mappers: m, registry: registry, resolve: resolve, speed: speed, client: connector.NewClient(), built: map[string]opened{}, lately: map[asked]found{}}
}

// registry knows the systems of this build.
func registry() *connector.Registry {
	return connector.New(map[string]connector.Builder{
		cloudevents.System: cloudevents.Build,
		dataverse.System:   dataverse.Build,
		graph.System:       graph.Build,
		ibm.System:         ibm.Build,
		imap.System:        imap.Build,
		maersk.System:      maersk.Build,
		model.System:       model.Build,
		oracle.System:      oracle.Build,
		postgres.System:    postgres.Build,
		rest.System:        rest.Build,
		sap.System:         sap.Build,
		smtp.System:        smtp.Build,
		webhook.System:     webhook.Build,
	})
}

// sandboxVar is the reference by which connections.yaml names the sandbox of the
// environment, sandboxMail its mail server and sandboxBank its core banking. Each stands
// for one system, whatever port it listens on today.
const (
	sandboxVar  = "${env:PATCHBAY_SANDBOX}"
	sandboxMail = "smtp://${env:PATCHBAY_SANDBOX_SMTP}"
	sandboxBank = "postgres://${env:PATCHBAY_SANDBOX_BANK}"
)

// Identity names the system behind a connection: connector, host and path. A run
// is bound to it (promise 6).
func Identity(resolve func(string) (string, error)) func(flow.Connection) (string, error) {
	return func(c flow.Connection) (string, error) {
		if rest, ok := strings.CutPrefix(c.URL, sandboxVar); ok {
			return c.System + " sandbox" + rest, nil
		}
		if c.URL == sandboxMail || c.URL == sandboxBank {
			return c.System + " sandbox", nil
		}
		url, err := naming(c.Name, resolve)(c.URL)
		if err != nil {
			return "", err
		}
		if front, _, _ := strings.Cut(url, "?"); front != url || strings.Contains(front, "@") {
			return "", fault.Invalidf("connector.url", "connection %s: url holds a user or a query; sign in with auth", c.Name)
		}
		return c.System + " " + strings.TrimRight(url, "/"), nil
	}
}

// naming has a reference that cannot be resolved say whose it is: the same name
// may stand in several connections.
func naming(connection string, resolve func(string) (string, error)) func(string) (string, error) {
	return func(text string) (string, error) {
		value, err := resolve(text)
		if f := new(fault.Fault); errors.As(err, &f) {
			return "", fault.New(f.Class, f.Code, "connection "+connection+": "+f.Text, err)
		}
		return value, err
	}
}

// references are all texts of a connection that may hold one.
func references(c flow.Connection) []string {
	texts := []string{c.URL, c.Auth.TokenURL, c.Auth.ClientID, c.Auth.ClientSecret, c.Auth.Username, c.Auth.Password}
	if c.Hook != nil {
		texts = append(texts, c.Hook.Secrets...)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Options)) { // an API key, for one
		texts = append(texts, c.Options[name])
	}
	return texts
}

// unresolved says which references of the connections have no value here, each
// with the name of its connection and never with a value. Those of other regions than
// that of this process have none, as it should be.
func unresolved(connections []flow.Connection, region string, resolve func(string) (string, error)) []string {
	var lines []string
	for _, c := range connections {
		if c.Region != "" && c.Region != region {
			continue
		}
		resolve := naming(c.Name, resolve)
		for _, text := range references(c) {
			if _, err := resolve(text); err != nil && !slices.Contains(lines, fault.Of(err).Text) {
				lines = append(lines, fault.Of(err).Text)
			}
		}
	}
	return lines
}

// open returns the connector behind a plan's connection. A connection that by
// now names another system than the plan was compiled for is not dialled
// (promise 6): a press that has no answer yet fails and says so, a write that is
// due waits, parked, until it is put right or a person cancels it.
func (s *systems) open(ctx context.Context, plan *flow.Plan, name string) (any, error) {
	at := asked{plan, name}
	s.mu.Lock()
	last, ok := s.lately[at]
	s.mu.Unlock()
	if ok && time.Now().Before(last.until) {
		return last.system, nil
	}
	system, err := s.look(ctx, plan, name)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.lately) >= mostMappers {
		clear(s.lately)
	}
	s.lately[at] = found{system, time.Now().Add(lookedAt)}
	return system, nil
}

// look finds the connection as it is by now.
func (s *systems) look(ctx context.Context, plan *flow.Plan, name string) (any, error) {
	c, err := s.connections.Connection(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("looking up connection %s: %w", name, err)
	}
	if err := s.ours(plan, c); err != nil {
		return nil, err
	}
	identity, err := Identity(s.resolve)(c)
	if err != nil {
		return nil, err
	}
	if pinned := plan.Bindings[name]; pinned.Identity != identity {
		return nil, fault.New(fault.Conflict, activities.Moved,
			"connection "+name+" names another system than when this run was accepted; put it back, or cancel the run and start it anew", nil)
	}
	o, err := s.shared(c)
	if err == nil && (plan.Pattern == flow.Instant || plan.Pattern == flow.Hybrid) {
		return o.urgent, nil
	}
	return o.system, err
}

// current returns the connector behind a connection as it is now, for what no run is
// bound to.
func (s *systems) current(ctx context.Context, name string) (any, error) {
	c, err := s.connections.Connection(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("looking up connection %s: %w", name, err)
	}
	if err := s.ours(nil, c); err != nil {
		return nil, err
	}
	o, err := s.shared(c)
	return o.system, err
}

// shared is the connector of a configuration, built once.
func (s *systems) shared(c flow.Connection) (opened, error) {
	config, err := json.Marshal(c)
	if err != nil {
		return opened{}, fault.New(fault.Bug, "connection.encoding", "connection "+c.Name+" cannot be encoded", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.built[c.Name]
	if !ok || o.config != string(config) {
		if o, err = s.build(c); err != nil {
			return opened{}, err
		}
		o.config = string(config)
		s.built[c.Name] = o
	}
	return o, nil
}

func (s *systems) build(c flow.Connection) (opened, error) {
	deps := connector.Deps{Resolve: naming(c.Name, s.resolve), Client: s.client}
	if s.stops != nil {
		deps.Resting, deps.Rested = s.rests, s.rested
	}
	if s.quotas != nil && len(c.Quotas) > 0 {
		deps.Quota = meter{s.quotas.Meter(c)}
	}
	system, err := s.registry.Build(connectorConfig(c, s.speed), deps)
	if err != nil {
		return opened{}, fmt.Errorf("building connection %s: %w", c.Name, err)
	}
	o := opened{system: system, urgent: system}
	if e, ok := system.(connector.Expeditor); ok {
		o.urgent = e.Urgent()
	}
	return o, nil
}

// rests tells all processes of a rest.
func (s *systems) rests(connection string, r connector.Rest) {
	s.stops.Resting(connection, stop.Rest{Since: r.Since, Until: r.Until, Times: r.Times, Why: r.Why})
}

// rested is what they know of one, and whether a person holds the connection.
func (s *systems) rested(connection string) connector.Rest {
	r, held := s.stops.Rested(connection)
	if held != "" {
		return connector.Rest{Held: true, Why: held}
	}
	return connector.Rest{Since: r.Since, Until: r.Until, Times: r.Times, Why: r.Why}
}

// Enter implements connector.Quota.
func (m meter) Enter(ctx context.Context, u connector.Use) (func(time.Duration), error) {
	return m.Meter.Enter(ctx, quota.Use(u))
}

// lookedAt is how long a connection is not looked at again.
const lookedAt = 250 * time.Millisecond

// lacking is the fault of a system without a capability.
func lacking(name, what string) error {
	return fault.New(fault.Rejected, "connection.capability", "connection "+name+" cannot "+what, nil)
}

// connectorConfig is what a connector knows of a connection.
func connectorConfig(c flow.Connection, speed float64) connector.Config {
	tables := make(map[string]connector.Table, len(c.Tables))
	for name, t := range c.Tables {
		types := make(map[string]string, len(t.Columns))
		columns := slices.Sorted(maps.Keys(t.Columns))
		for column, kind := range t.Columns {
			if kind == flow.Document { // it is no column of a row there
				columns = slices.DeleteFunc(columns, func(name string) bool { return name == column })
				continue
			}
			types[column] = string(kind)
		}
		tables[name] = connector.Table{
			Name:    name,
			Path:    t.Path,
			Keys:    t.Keys,
			Columns: columns,
			Types:   types,
			Expand:  t.Expand,
			Refers:  t.Refers,
		}
	}
	var hook connector.Hook
	if c.Hook != nil {
		hook = connector.Hook{Scheme: c.Hook.Scheme, Name: c.Hook.Name, Secrets: c.Hook.Secrets, Retired: c.Hook.Retired, From: c.Hook.From}
	}
	return connector.Config{
		Hook:   hook,
		Name:   c.Name,
		System: c.System,
		URL:    c.URL,
		Auth: connector.Auth{
			Kind: c.Auth.Kind, TokenURL: c.Auth.TokenURL, ClientID: c.Auth.ClientID, ClientSecret: c.Auth.ClientSecret,
			Scope: c.Auth.Scope, Username: c.Auth.Username, Password: c.Auth.Password,
		},
		Limits: connector.Limits{
			PerSecond: c.Limits.PerSecond, Burst: c.Limits.Burst, Concurrent: c.Limits.Concurrent,
			Timeout: c.Limits.Timeout, MaxBytes: c.Limits.MaxBytes,
		},
		Options: c.Options,
		Tables:  tables,
		Speed:   speed,
	}
}
