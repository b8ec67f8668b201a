package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"patchbay/internal/devenv"
)

// installation is one `patchbay serve` and one `patchbay worker`, as they run in
// production, on what the environment stood on.
type installation struct {
	site
	commands []*exec.Cmd
}

// The holders of keys: two users and one who operates.
const (
	crowdKey  = "key-of-crowd"
	personKey = "key-of-person"
	deskKey   = "key-of-desk"
)

// install starts both processes; the connections lead to sandbox.
func (e *environment) install(ctx context.Context, sandbox string) (in *installation, err error) {
	keys := ""
	for _, holder := range [][3]string{{"crowd", crowdKey, "press"}, {"person", personKey, "press"}, {"desk", deskKey, "operate"}} {
		sum := sha256.Sum256([]byte(holder[1]))
		keys += fmt.Sprintf("%s %s %s\n", holder[0], hex.EncodeToString(sum[:]), holder[2])
	}
	file := filepath.Join(e.dir, "keys")
	if err := os.WriteFile(file, []byte(keys), 0o600); err != nil {
		return nil, err
	}
	ports, err := devenv.FreePorts(ctx, 2)
	if err != nil {
		return nil, err
	}
	serve, probes := fmt.Sprintf("127.0.0.1:%d", ports[0]), fmt.Sprintf("127.0.0.1:%d", ports[1])
	in = &installation{site: site{
		api: "http://" + serve, key: deskKey, probes: []string{"http://" + probes}, actionsAt: e.actionsAt, database: e.database,
		running: processes{"clients": os.Getpid()},
	}}
	defer func() {
		if err != nil {
			in.stop()
		}
	}()
	for name, pid := range e.parts.PIDs() {
		in.running[name] = pid
	}
	references := []string{"PATCHBAY_SANDBOX=" + sandbox, "PATCHBAY_SANDBOX_SECRET=" + sandboxSecret}
	for _, process := range []struct {
		name string
		args []string
	}{
		{"serve", []string{"--http", serve, "--keys", file}},
		{"worker", []string{"--http", probes}},
	} {
		args := append([]string{process.name, "--database", e.database, "--temporal", e.temporal}, process.args...)
		cmd, err := e.launch(process.name, references, args...)
		if err != nil {
			return in, err
		}
		in.commands = append(in.commands, cmd)
		in.running[process.name] = cmd.Process.Pid
	}
	for name, address := range map[string]string{"serve": in.api, "worker": in.probes[0]} {
		if err := await(ctx, name, 30*time.Second, func() bool { return answers(address + "/readyz") }); err != nil {
			return in, fmt.Errorf("%w; its log ends with\n%s", err, e.logged(name))
		}
	}
	return in, e.warm(ctx, in)
}

// warm presses until an answer comes: the worker may not have polled yet.
func (e *environment) warm(ctx context.Context, in *installation) error {
	var last error
	b := of(in.api, "product-specs", crowdKey)
	err := await(ctx, "the separate processes", 30*time.Second, func() bool {
		last = b.press(ctx, e.products[len(e.products)-1])
		return last == nil
	})
	if err != nil {
		return errors.Join(err, last)
	}
	return in.quiet(ctx, time.Minute)
}

func (in *installation) stop() {
	for i := range in.commands {
		_ = interrupt(in.commands[len(in.commands)-1-i])
	}
}

// split presses an installation with the most clients.
func split(ctx context.Context, env *environment, o options) error {
	in, err := env.install(ctx, env.sandbox)
	if err != nil {
		return err
	}
	defer in.stop()
	clients := o.clients[len(o.clients)-1]
	goods := newShelf(env.products)
	b := of(in.api, "product-specs", crowdKey)
	warm := o
	warm.lasting = min(o.lasting, 1500*time.Millisecond)
	_, actions, err := in.measure(ctx, b, clients, warm, goods, true, 0)
	if err != nil {
		return err
	}
	var rounds []round
	for range o.rounds {
		var r round
		if r, actions, err = in.measure(ctx, b, clients, o, goods, true, actions); err != nil {
			return err
		}
		rounds = append(rounds, r)
	}
	fmt.Printf("\nSeparate processes, one serve and one worker, %d clients, %d rounds of %s, median (min … max)\n", clients, o.rounds, o.lasting)
	fmt.Printf("  answers/s %s; completed/s %s; p50 %s, p95 %s, p99 %s ms\n", spread(each(rounds, round.answers), 0), spread(each(rounds, round.written), 0),
		quantiles(rounds, 0.5), quantiles(rounds, 0.95), quantiles(rounds, 0.99))
	costs("serve + worker", rounds)
	for _, name := range []string{"serve", "worker"} {
		fmt.Printf("  %-14s resident memory after a round %s MB\n", name, spread(each(rounds, func(r round) float64 { return float64(r.resident[name] >> 20) }), 0))
	}
	return nil
}
