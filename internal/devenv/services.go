package devenv

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"go.temporal.io/sdk/client"

	"patchbay/internal/fault"
)

// givenWithin is how long a Temporal that was given may take to answer.
const givenWithin = 5 * time.Second

func (e *Env) startTemporal(ctx context.Context) error {
	if e.options.Temporal != "" {
		if err := e.endOne(ctx, temporal); err != nil {
			return err
		}
		soon, cancel := context.WithTimeout(ctx, givenWithin)
		defer cancel()
		if !e.options.Scratch { // tests may name one that they have no use for
			if err := AwaitTemporal(soon, e.options.Temporal, client.DefaultNamespace); err != nil {
				return fault.New(fault.Unavailable, "devenv.temporal", "Temporal does not answer at "+e.options.Temporal, err)
			}
		}
		return e.update(func(r *record) { r.Temporal = e.options.Temporal })
	}
	binary, err := TemporalBinary()
	if err != nil {
		return err
	}
	var s TemporalServer
	ports := []port{
		{name: "temporal", wanted: e.options.TemporalPort, what: "Temporal", flag: "--temporal-port"},
		{name: "temporal_metrics", what: "Temporal's metrics"},
		{name: "temporal_ui", wanted: e.options.UIPort, what: "the Temporal Web UI", flag: "--ui-port"},
	}
	err = e.ensure(ctx, temporal, ports, func(n []int) (spec, error) {
		s = TemporalServer{Port: n[0], MetricsPort: n[1], UIPort: n[2], File: filepath.Join(e.dir, "temporal.db")}
		if e.options.Scratch {
			s.File, s.UIPort = "", 0
		}
		return spec{
			name: temporal, title: "Temporal on " + address(s.Port),
			path: binary, args: s.Args(), limit: 60 * time.Second,
			ready: func(ctx context.Context) error {
				return temporalReady(ctx, address(s.Port), client.DefaultNamespace)
			},
		}, nil
	})
	if err != nil {
		return err
	}
	return e.update(func(r *record) {
		r.Temporal = address(s.Port)
		r.Metrics = "http://" + address(s.MetricsPort) + "/metrics"
		if s.UIPort != 0 {
			r.UI = "http://" + address(s.UIPort)
		}
	})
}

func (e *Env) startSandbox(ctx context.Context) error {
	executable := e.options.Executable
	if executable == "" {
		var err error
		if executable, err = os.Executable(); err != nil {
			return fmt.Errorf("finding this program's file: %w", err)
		}
	}
	database, err := e.sandboxDatabase(ctx)
	if err != nil {
		return err
	}
	var at string
	ports := []port{{name: "sandbox", wanted: e.options.SandboxPort, what: "the sandbox", flag: "--sandbox-port"}}
	err = e.ensure(ctx, sandbox, ports, func(n []int) (spec, error) {
		at = address(n[0])
		args := []string{"sandbox", "--listen", at, "--database", database, "--speed", strconv.FormatFloat(e.options.Speed, 'g', -1, 64)}
		if e.options.Lean {
			args = append(args, "--lean")
		}
		return spec{
			name: sandbox, title: "the sandbox on " + at, path: executable, args: args,
			limit: 60 * time.Second, // fills its tables the first time
			ready: func(ctx context.Context) error { return httpReady(ctx, "http://"+at+"/_sandbox/") },
		}, nil
	})
	if err != nil {
		return err
	}
	return e.update(func(r *record) { r.Sandbox = "http://" + at })
}

// sandboxDatabase gives the URL, fit for an argument list, of the database that
// the sandbox has for itself on Patchbay's server.
func (e *Env) sandboxDatabase(ctx context.Context) (string, error) {
	name := sandboxDB
	if e.options.Database != "" {
		u, err := url.Parse(e.options.Database)
		if err != nil {
			return "", fault.New(fault.Invalid, "devenv.database", "the database's address is no URL", err)
		}
		name = strings.Trim(u.Path, "/") + "_sandbox"
		if err := createDatabases(ctx, e.options.Database, name); err != nil {
			return "", fault.New(fault.Of(err).Class, "devenv.database", "the sandbox needs a database "+name+" on the server that was given, and it cannot be created", err)
		}
	}
	return e.argumentURL(e.Info().Database, name)
}

func httpReady(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	once := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // a kept connection would outlive the look
	response, err := once.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("answered with status %d", response.StatusCode)
	}
	return nil
}
