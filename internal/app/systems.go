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

	"patchbay/activities"
	"patchbay/internal/connector"
	"patchbay/internal/connector/dataverse"
	"patchbay/internal/connector/oracle"
	"patchbay/internal/connector/postgres"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
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
		client      *http.Client
		resting     func(connection string, resting bool) // may be nil

		mu    sync.Mutex
		built map[string]opened // by connection
	}

	opened struct {
		config string // the configuration it was built from
		system any
	}
)

func newSystems(c connections, m *mappers, registry *connector.Registry, resolve func(string) (string, error), speed float64) *systems {
	return &systems{connections: c, mappers: m, registry: registry, resolve: resolve, speed: speed, client: connector.NewClient(), built: map[string]opened{}}
}

// registry knows the systems of this build.
func registry() *connector.Registry {
	return connector.New(map[string]connector.Builder{
		dataverse.System: dataverse.Build,
		oracle.System:    oracle.Build,
		postgres.System:  postgres.Build,
	})
}

// sandboxVar is the reference by which connections.yaml names the sandbox of the
// environment. It stands for one system, whatever port it listens on today.
const sandboxVar = "${env:PATCHBAY_SANDBOX}"

// Identity names the system behind a connection: connector, host and path. A run
// is bound to it (promise 6).
func Identity(resolve func(string) (string, error)) func(flow.Connection) (string, error) {
	return func(c flow.Connection) (string, error) {
		if rest, ok := strings.CutPrefix(c.URL, sandboxVar); ok {
			return c.System + " sandbox" + rest, nil
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

// unresolved says which references of the connections have no value here, each
// with the name of its connection and never with a value.
func unresolved(connections []flow.Connection, resolve func(string) (string, error)) []string {
	var lines []string
	for _, c := range connections {
		resolve := naming(c.Name, resolve)
		for _, text := range []string{c.URL, c.Auth.TokenURL, c.Auth.ClientID, c.Auth.ClientSecret, c.Auth.Username, c.Auth.Password} {
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
	c, err := s.connections.Connection(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("looking up connection %s: %w", name, err)
	}
	identity, err := Identity(s.resolve)(c)
	if err != nil {
		return nil, err
	}
	if pinned := plan.Bindings[name]; pinned.Identity != identity {
		return nil, fault.New(fault.Conflict, activities.Moved,
			"connection "+name+" names another system than when this run was accepted; put it back, or cancel the run and start it anew", nil)
	}
	config, err := json.Marshal(c)
	if err != nil {
		return nil, fault.New(fault.Bug, "connection.encoding", "connection "+name+" cannot be encoded", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if o, ok := s.built[name]; ok && o.config == string(config) {
		return o.system, nil
	}
	system, err := s.registry.Build(connectorConfig(c, s.speed), connector.Deps{Resolve: naming(name, s.resolve), Client: s.client, Resting: s.resting})
	if err != nil {
		return nil, fmt.Errorf("building connection %s: %w", name, err)
	}
	s.built[name] = opened{config: string(config), system: system}
	return system, nil
}

// lacking is the fault of a system without a capability.
func lacking(name, what string) error {
	return fault.New(fault.Rejected, "connection.capability", "connection "+name+" cannot "+what, nil)
}

// connectorConfig is what a connector knows of a connection.
func connectorConfig(c flow.Connection, speed float64) connector.Config {
	tables := make(map[string]connector.Table, len(c.Tables))
	for name, t := range c.Tables {
		tables[name] = connector.Table{
			Name:    name,
			Path:    t.Path,
			Keys:    t.Keys,
			Columns: slices.Sorted(maps.Keys(t.Columns)),
			Expand:  t.Expand,
		}
	}
	return connector.Config{
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
