// Command bench measures presses of product-specs beside one bare workflow per
// press, in one run on one machine: the same clients, the same two calls to the
// same lean sandbox, the same Temporal server. It first prints what the bench
// itself, the sandbox and PostgreSQL could do at most, then medians over
// alternating rounds with their spread, for one client and for many: answers and
// completed writes a second, Temporal's own count of actions, where the CPU time
// went, memory. Then the way of an event, from its delivery to its mail, beside raw
// inserts and a workflow per event; a service of five steps beside five bare activities; a document from SharePoint to two targets, beside a plain
// program that streams it; the same presses with separate processes, identical requests at
// once, a consolidation beside the same rows in plain SQL, two regions beside logical replication, one user's press behind another
// user's queue, and decisions beside 10,000 applications that nobody waits for. And,
// without any of these, the paths of a stressed household beside the same loop in C. `make bench` runs it;
// nothing here is a test, because a time is no proof.
//
// It drives the built binary as a user does and imports nothing of Patchbay but
// the example flows, the counter of actions, the simulation, and what starts the children.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// options are the choices of one run.
type options struct {
	only    []string
	clients []int
	rows    []int
	// documents are their sizes, in millions of bytes.
	documents []int
	shared    int
	rounds    int
	lasting   time.Duration
	alone     bool
	binary    string
	profile   string
}

// The sections, in the order in which they run.
const (
	riskSection      = "risk" // needs no children
	ceilingSection   = "ceiling"
	loadSection      = "load"
	eventsSection    = "events"
	sagaSection      = "saga"
	documentsSection = "documents"
	fleetSection     = "fleet"
	splitSection     = "split"
	identicalSection = "identical"
	gatherSection    = "consolidate"
	regionsSection   = "regions"
	fairnessSection  = "fairness" // the last: it leaves a queue behind
)

var sections = []string{riskSection, ceilingSection, loadSection, eventsSection, sagaSection, documentsSection, fleetSection, splitSection, identicalSection, gatherSection, regionsSection, fairnessSection}

func main() {
	if len(os.Args) > 1 && os.Args[1] == peerCommand {
		finish("bench "+peerCommand, runPeer(os.Args[2:]))
		return
	}
	var o options
	only := flag.String("only", strings.Join(sections, ","), "sections to run")
	clients := flag.String("clients", "1,32,256", "numbers of clients that press at a time")
	rows := flag.String("rows", "1000000", "rows of each source of a consolidation; several sizes one after the other")
	sizes := flag.String("document", "100", "`MB` of a document that is distributed; several sizes one after the other")
	flag.IntVar(&o.shared, "shared", 100_000, "rows that two regions share")
	flag.IntVar(&o.rounds, "rounds", 5, "rounds; each measures every contender once")
	flag.DurationVar(&o.lasting, "lasting", 3*time.Second, "how long the clients of a round go on pressing")
	flag.BoolVar(&o.alone, "alone", false, "under load, press patchbay without the bare workflow beside it")
	flag.StringVar(&o.binary, "binary", "", "measure this `FILE` instead of building one")
	flag.StringVar(&o.profile, "profile", "", "write CPU and heap profiles of patchbay's last round with most clients to `PREFIX`-cpu.pprof and -heap.pprof")
	flag.Parse()
	var err error
	if o.only, o.clients, err = choices(*only, *clients); err == nil {
		o.rows, err = numbers(*rows, 1<<30)
	}
	if err == nil {
		o.documents, err = numbers(*sizes, 262)
	}
	if err == nil && (o.rounds < 1 || o.shared < 1 || flag.NArg() > 0 || o.profile != "" && o.binary != "") {
		err = errors.New("give at least one round and one shared row, no arguments, and a profile only of what is built here")
	}
	if err != nil {
		finish("bench", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err = run(ctx, o)
	stop()
	finish("bench", err)
}

func finish(name string, err error) {
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

func choices(only, clients string) (names []string, counts []int, err error) {
	for name := range strings.SplitSeq(only, ",") {
		if !slices.Contains(sections, name) {
			return nil, nil, fmt.Errorf("there is no section %q; there are %s", name, strings.Join(sections, ", "))
		}
		names = append(names, name)
	}
	counts, err = numbers(clients, 4096)
	slices.Sort(counts)
	return names, counts, err
}

// numbers reads a list of them, each from 1 to most.
func numbers(list string, most int) (all []int, err error) {
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > most {
			return nil, fmt.Errorf("%q is no number from 1 to %d", text, most)
		}
		all = append(all, n)
	}
	return all, nil
}

func run(ctx context.Context, o options) error {
	if slices.Contains(o.only, riskSection) {
		if err := risk(ctx, o.rounds); err != nil || len(o.only) == 1 {
			return err
		}
	}
	env, err := start(ctx, o)
	if err != nil {
		return err
	}
	defer env.stop(ctx)
	peer, err := startPeer(env.temporal, env.sandbox, env.smtp)
	if err != nil {
		return err
	}
	defer peer.stop()
	machine(env)
	if slices.Contains(o.only, ceilingSection) {
		if err := ceiling(ctx, env, peer); err != nil {
			return err
		}
	}
	if slices.Contains(o.only, loadSection) {
		if err := load(ctx, env, peer, o); err != nil {
			return err
		}
	}
	if slices.Contains(o.only, eventsSection) {
		if err := events(ctx, env, peer, o); err != nil {
			return err
		}
	}
	if slices.Contains(o.only, sagaSection) {
		if err := saga(ctx, env, peer, o); err != nil {
			return err
		}
	}
	peer.stop()
	if slices.Contains(o.only, documentsSection) {
		if err := documents(ctx, env, o); err != nil {
			return err
		}
	}
	if slices.Contains(o.only, fleetSection) {
		if err := fleet(ctx, env); err != nil {
			return err
		}
	}
	apart := []struct {
		name string
		run  func(context.Context, *environment, options) error
	}{{splitSection, split}, {identicalSection, identical}, {gatherSection, consolidate}, {regionsSection, regions}, {fairnessSection, fairness}}
	for _, section := range apart {
		if !slices.Contains(o.only, section.name) {
			continue
		}
		if err := env.takeApart(ctx); err != nil {
			return err
		}
		if err := section.run(ctx, env, o); err != nil {
			return err
		}
	}
	return nil
}

// machine prints what the figures were measured on.
func machine(env *environment) {
	temporal, _ := exec.Command(env.temporalBinary, "--version").Output()
	postgres, _ := exec.Command("sh", "-c", "postgres --version 2>/dev/null || ls -d /usr/lib/postgresql/*/bin/postgres | tail -1 | xargs -I{} {} --version").Output()
	fmt.Printf("%s\n%s\n%s\neverything runs on it: clients, Patchbay, PostgreSQL, Temporal, the stand-ins with %d products\n", processors(),
		strings.TrimSpace(string(temporal)), strings.TrimSpace(string(postgres)), len(env.products))
}

// processors tells what the machine has, and what Go.
func processors() string {
	cpu := "unknown processor"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.SplitSeq(string(b), "\n") {
			if name, ok := strings.CutPrefix(line, "model name"); ok {
				cpu = strings.Trim(name, "\t :")
				break
			}
		}
	}
	return fmt.Sprintf("%d × %s, %s/%s, %s", runtime.NumCPU(), cpu, runtime.GOOS, runtime.GOARCH, runtime.Version())
}
