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
	s, err := e.runTemporal(ctx, temporal, "Temporal", e.options.TemporalPort, e.options.UIPort)
	if err != nil {
		return err
	}
	return e.update(func(r *record) { r.Temporal, r.Metrics, r.UI = s.addresses() })
}

// temporalFiles matches what Temporal servers keep in an environment's directory.
const temporalFiles = "temporal*.db*"

// runTemporal gets a Temporal development server running as the child of a name.
func (e *Env) runTemporal(ctx context.Context, name, title string, wanted, ui int) (TemporalServer, error) {
	binary, err := TemporalBinary()
	if err != nil {
		return TemporalServer{}, err
	}
	var s TemporalServer
	ports := []port{
		{name: name, wanted: wanted, what: title, flag: "--temporal-port"},
		{name: name + "_metrics", what: title + "'s metrics"},
		{name: name + "_ui", wanted: ui, what: "the Web UI of " + title, flag: "--ui-port"},
	}
	err = e.ensure(ctx, name, ports, func(n []int) (spec, error) {
		s = TemporalServer{Port: n[0], MetricsPort: n[1], UIPort: n[2], File: filepath.Join(e.dir, name+".db")}
		if e.options.Scratch {
			s.File, s.UIPort = "", 0
		}
		return spec{
			name: name, title: title + " on " + address(s.Port),
			path: binary, args: s.Args(), limit: 60 * time.Second,
			ready: func(ctx context.Context) error {
				return temporalReady(ctx, address(s.Port), client.DefaultNamespace)
			},
		}, nil
	})
	return s, err
}

func (e *Env) startSandbox(ctx context.Context) error {
	executable, err := e.executable()
	if err != nil {
		return err
	}
	database, err := e.sandboxDatabase(ctx)
	if err != nil {
		return err
	}
	var at, mail string
	ports := []port{
		{name: "sandbox", wanted: e.options.SandboxPort, what: "the sandbox", flag: "--sandbox-port"},
		{name: "smtp", wanted: e.options.SMTPPort, what: "the sandbox's mail server", flag: "--smtp-port"},
	}
	err = e.ensure(ctx, sandbox, ports, func(n []int) (spec, error) {
		at, mail = address(n[0]), address(n[1])
		args := []string{"sandbox", "--listen", at, "--smtp-port", strconv.Itoa(n[1]), "--database", database, "--speed", strconv.FormatFloat(e.options.Speed, 'g', -1, 64)}
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
	return e.update(func(r *record) { r.Sandbox, r.SMTP = "http://"+at, mail })
}

// executable is the file of the program whose commands children run.
func (e *Env) executable() (string, error) {
	if e.options.Executable != "" {
		return e.options.Executable, nil
	}
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("finding this program's file: %w", err)
	}
	return path, nil
}

// sandboxDatabase gives the URL, fit for an argument list, of the database that
// the sandbox has for itself on Patchbay's server.
func (e *Env) sandboxDatabase(ctx context.Context) (string, error) {
	name := sandboxName(e.options.Database)
	if e.options.Database != "" {
		if err := createDatabases(ctx, e.options.Database, name); err != nil {
			return "", fault.New(fault.Of(err).Class, "devenv.database", "the sandbox needs a database "+name+" on the server that was given, and it cannot be created", err)
		}
		if len(e.options.Regions) > 0 { // it plays the systems of them all
			if err := seal(ctx, e.options.Database, name); err != nil {
				return "", fmt.Errorf("closing the sandbox's database to regions: %w", err)
			}
		}
	}
	return e.argumentURL(e.Info().Database, name)
}

// sandboxName is the name of the sandbox's database on a server that was given, or on ours.
func sandboxName(given string) string {
	if given == "" {
		return sandboxDB
	}
	u, err := url.Parse(given)
	if err != nil {
		return sandboxDB // it was dialled already
	}
	return strings.Trim(u.Path, "/") + "_sandbox"
}

// SandboxDatabase gives the URL of the sandbox's database, with the password of its owner.
func (e *Env) SandboxDatabase() (string, error) {
	u, err := url.Parse(e.Info().Database)
	if err != nil {
		return "", fault.New(fault.Invalid, "devenv.database", "the database's address is no URL", err)
	}
	u.Path = "/" + sandboxName(e.options.Database)
	return u.String(), nil
}

// Bank records who may read the core banking of the sandbox, and where that is.
func (e *Env) Bank(address string) error {
	return e.update(func(r *record) { r.Bank = address })
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
