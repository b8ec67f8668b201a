package devenv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"

	"patchbay/internal/fault"
)

// wish is a port that has to be the one that was asked for.
type wish struct {
	port    int
	what    string // for people
	flag    string // that changes it
	address string // as the flag takes it, without the port; empty: the flag takes a port alone
	child   string // that may hold it already
	last    string // its name in the record
}

func (w wish) instead(port int) string {
	if w.address != "" {
		return w.flag + " " + net.JoinHostPort(w.address, strconv.Itoa(port))
	}
	return w.flag + " " + strconv.Itoa(port)
}

// bind takes the address of the API, and looks at every other port that was
// asked for: whoever starts learns of all that are taken at once, with the line
// that avoids them, and before anything runs.
func (e *Env) bind(ctx context.Context) error {
	var taken []wish
	if e.options.HTTP != "" {
		host, port, err := loopback(e.options.HTTP)
		if err != nil {
			return err
		}
		e.listener, err = new(net.ListenConfig).Listen(ctx, "tcp", e.options.HTTP)
		switch {
		case errors.Is(err, syscall.EADDRINUSE):
			taken = append(taken, wish{port: port, what: "API and console", flag: "--http", address: host})
		case err != nil:
			return fault.New(fault.Invalid, "http.listen", "cannot listen on "+e.options.HTTP+"; give --http 127.0.0.1:PORT", err)
		}
	}
	seen := map[int]bool{}
	for _, w := range e.wishes() {
		if c, known := e.child(w.child); known && c.alive() && e.record.Ports[w.last] == w.port {
			seen[w.port] = true
			continue // held by a child of ours, which is adopted or ended
		}
		if seen[w.port] || portFree(ctx, w.port, w.what, w.flag) != nil {
			taken = append(taken, w)
		}
		seen[w.port] = true
	}
	if len(taken) == 0 {
		return nil
	}
	var names, instead []string
	for _, w := range taken {
		free := freeAbove(ctx, w.port, seen)
		seen[free] = true
		names = append(names, fmt.Sprintf("port %d for %s is taken", w.port, w.what))
		instead = append(instead, w.instead(free))
	}
	return fault.New(fault.Conflict, "devenv.port_taken", fmt.Sprintf(
		"%s; stop what listens there, or add: %s", strings.Join(names, ", "), strings.Join(instead, " ")), nil)
}

// wishes are the ports of children that will be started and may not move.
func (e *Env) wishes() []wish {
	var all []wish
	if e.options.Temporal == "" {
		all = append(all, wish{port: e.options.TemporalPort, what: "Temporal", flag: "--temporal-port", child: temporal, last: "temporal"})
		if !e.options.Scratch {
			all = append(all, wish{port: e.options.UIPort, what: "the Temporal Web UI", flag: "--ui-port", child: temporal, last: "temporal_ui"})
		}
	}
	if !e.options.Scratch {
		all = append(all, wish{port: e.options.SandboxPort, what: "the sandbox", flag: "--sandbox-port", child: sandbox, last: "sandbox"},
			wish{port: e.options.SMTPPort, what: "the sandbox's mail server", flag: "--smtp-port", child: sandbox, last: "smtp"})
	}
	var fixed []wish
	for _, w := range all {
		if w.port != 0 {
			fixed = append(fixed, w)
		}
	}
	return fixed
}

// freeAbove finds the next free port above one that is taken; 0, which picks
// one, when there is none near.
func freeAbove(ctx context.Context, port int, not map[int]bool) int {
	for p := port + 1; p < port+100 && p <= 65535; p++ {
		if !not[p] && portFree(ctx, p, "", "") == nil {
			return p
		}
	}
	return 0
}

// loopback splits the address of the API, which needs no key and so may be
// reached from this machine only.
func loopback(address string) (host string, port int, err error) {
	host, service, err := net.SplitHostPort(address)
	if err == nil {
		port, err = strconv.Atoi(service)
	}
	if err != nil || port < 0 || port > 65535 {
		return "", 0, fault.Invalidf("http.listen", "--http %s is no address; give 127.0.0.1:PORT", address)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return "", 0, fault.Invalidf("http.not_loopback",
			"--http %s: the development server needs no key and listens on loopback only; use 127.0.0.1:%d, or patchbay serve with --keys", address, port)
	}
	return host, port, nil
}
