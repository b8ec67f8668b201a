package app

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/connector"
	"patchbay/internal/contract"
	"patchbay/internal/durable"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/httpapi"
	"patchbay/internal/web"
)

const (
	// examined bounds each check of the doctor.
	examined = 5 * time.Second
	// A row that Temporal does not have waits for a slot for moments; for longer the
	// relay does not get on.
	dueLong  = 30 * time.Second
	dueFails = 5 * time.Minute
	// Clocks that differ confuse people who read logs, and then signatures.
	skewed    = time.Second
	skewFails = 30 * time.Second

	roomShort = 1 << 30 // bytes of a disk
	roomFails = 200 << 20
)

// verdictOf is what a check of the doctor has found: ok with "", else "warn" or
// "fail".
type verdictOf struct{ status, detail string }

func okay(format string, args ...any) verdictOf { return verdictOf{"ok", fmt.Sprintf(format, args...)} }
func warn(format string, args ...any) verdictOf {
	return verdictOf{"warn", fmt.Sprintf(format, args...)}
}
func failed(format string, args ...any) verdictOf {
	return verdictOf{"fail", fmt.Sprintf(format, args...)}
}

// broken is the verdict of a check that could not be made; the text of a fault is
// safe to show.
func broken(err error) verdictOf {
	if f := fault.Of(err); f.Class != fault.Bug {
		return failed("%s", f.Text)
	}
	return failed("it did not answer in time")
}

// Examine implements httpapi.Doctor: every check at the same time, in a fixed
// order, each bounded.
func (a *api) Examine(ctx context.Context) []httpapi.Check {
	checks := []struct {
		name string
		look func(context.Context) verdictOf
	}{
		{"build", a.examineBuild}, {"store", a.examineStore}, {"schema", a.examineSchema}, {"temporal", a.examineTemporal},
		{"attributes", a.examineAttributes}, {"canary", a.examineCanary}, {"relay", a.examineRelay}, {"clock", a.examineClock}, {"drift", a.examineDrift}, {"repairs", a.examineRepairs},
	}
	if a.face.Data != "" {
		checks = append(checks, struct {
			name string
			look func(context.Context) verdictOf
		}{"disk", a.examineDisk})
	}
	found := make([]httpapi.Check, len(checks))
	var looking sync.WaitGroup
	for i, c := range checks {
		looking.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, examined)
			defer cancel()
			v := c.look(ctx)
			found[i] = httpapi.Check{Name: c.name, Status: v.status, Detail: v.detail}
		})
	}
	regions := make([]httpapi.Check, len(a.face.Regions))
	for i, r := range a.face.Regions {
		looking.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, examined)
			defer cancel()
			v := examineRegion(ctx, r)
			regions[i] = httpapi.Check{Name: "region " + r.Name, Status: v.status, Detail: v.detail}
		})
	}
	var borders []httpapi.Check
	looking.Go(func() { borders = a.examineBorders(ctx) })
	connections := a.examineConnections(ctx)
	looking.Wait()
	return slices.Concat(found, regions, connections, borders)
}

// examineRegion asks a region that runs beside whether it is ready; its own doctor, at
// its address, tells the rest.
func examineRegion(ctx context.Context, r web.Region) verdictOf {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.Address+"/readyz", nil)
	if err != nil {
		return broken(err)
	}
	once := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := once.Do(request)
	if err != nil {
		return failed("it does not answer at %s", r.Address)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return failed("not ready; patchbay doctor --server %s says why", r.Address)
	}
	return okay("ready at %s", r.Address)
}

// examineRepairs counts what people have to put right.
func (a *api) examineRepairs(ctx context.Context) verdictOf {
	list, err := a.book.Repairs(ctx, flow.RepairFilter{})
	switch {
	case err != nil:
		return broken(err)
	case len(list) == 0:
		return okay("nothing that services wrote has to be taken back by a person")
	}
	return warn("%d steps of services could not be taken back and have to be put right by a person, the oldest since %s: patchbay repairs",
		len(list), list[0].Since.Format(time.RFC3339))
}

func (a *api) examineBuild(ctx context.Context) verdictOf {
	current, err := durable.Current(ctx, a.temporal, contract.Deployment)
	switch {
	case err != nil:
		return failed("which build is current is not known: %s", fault.Of(err).Text)
	case current == "":
		return failed("no build is current, so no run begins; start `patchbay worker`, then `patchbay apply`")
	}
	gone, err := a.gone(ctx, current)
	switch {
	case err != nil:
		return warn("build %s is current; whether a worker of it is there is not known: %s", current, fault.Of(err).Text)
	case gone:
		return failed("build %s is current and no worker of it is there; start `patchbay worker` of that build", current)
	case current != Build():
		return warn("build %s is current and has a worker; this process is of build %s", current, Build())
	}
	return okay("%s is current and has a worker", current)
}

func (a *api) examineStore(ctx context.Context) verdictOf {
	var version string
	begun := time.Now()
	err := a.store.Read(ctx, func(c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `select current_setting('server_version')`).Scan(&version)
	})
	if err != nil {
		return broken(err)
	}
	version, _, _ = strings.Cut(version, " ")
	return okay("PostgreSQL %s, %s", version, millis(begun))
}

func (a *api) examineSchema(ctx context.Context) verdictOf {
	have, want, err := a.store.Schema(ctx)
	switch {
	case err != nil:
		return broken(err)
	case have < want:
		return failed("version %d, and this build needs %d; run `patchbay apply`", have, want)
	case have > want:
		return warn("version %d, and this build knows %d: a later build has been applied", have, want)
	}
	return okay("version %d", have)
}

func (a *api) examineTemporal(ctx context.Context) verdictOf {
	begun := time.Now()
	if err := durable.Ready(ctx, a.temporal, a.Namespace); err != nil {
		return broken(err)
	}
	return okay("namespace %s, %s", a.Namespace, millis(begun))
}

func (a *api) examineAttributes(ctx context.Context) verdictOf {
	missing, err := durable.MissingSearchAttributes(ctx, a.temporal, a.Namespace)
	switch {
	case err != nil:
		return broken(err)
	case len(missing) > 0:
		return failed("Temporal does not know %s, and takes no run; run `patchbay apply`", strings.Join(missing, ", "))
	}
	return okay("the search attributes are registered")
}

func (a *api) examineCanary(context.Context) verdictOf {
	c := heard(a.canary.Song())
	return verdictOf{c.Status, c.Detail}
}

func (a *api) examineRelay(ctx context.Context) verdictOf {
	s, err := a.book.Stats(ctx)
	if err != nil {
		return broken(err)
	}
	text := fmt.Sprintf("%d due, the oldest for %s; %d open in %d workflows, %d of them tried before",
		s.Due, s.OldestDue.Round(time.Second), s.OpenRuns, s.OpenBatches, s.Retried)
	switch {
	case s.OldestDue >= dueFails:
		return failed("%s", text)
	case s.OldestDue >= dueLong:
		return warn("%s", text)
	}
	return okay("%s", text)
}

// examineClock compares the clocks, at the middle of the question.
func (a *api) examineClock(ctx context.Context) verdictOf {
	var theirs time.Time
	var ours time.Time
	err := a.store.Read(ctx, func(c *pgxpool.Conn) error {
		begun := time.Now()
		err := c.QueryRow(ctx, `select clock_timestamp()`).Scan(&theirs)
		ours = begun.Add(time.Since(begun) / 2)
		return err
	})
	if err != nil {
		return broken(err)
	}
	skew := theirs.Sub(ours).Abs().Round(time.Millisecond)
	switch {
	case skew >= skewFails:
		return failed("%s apart from the database's", skew)
	case skew >= skewed:
		return warn("%s apart from the database's", skew)
	}
	return okay("%s apart from the database's", skew)
}

func (a *api) examineDisk(context.Context) verdictOf {
	var s syscall.Statfs_t
	if err := syscall.Statfs(a.face.Data, &s); err != nil {
		return warn("how much room there is cannot be told")
	}
	room := int64(s.Bavail) * int64(s.Bsize) //nolint:unconvert // the types differ between systems
	text := fmt.Sprintf("%d MiB of room at %s", room>>20, a.face.Data)
	switch {
	case room < roomFails:
		return failed("%s", text)
	case room < roomShort:
		return warn("%s", text)
	}
	return okay("%s", text)
}

// examineConnections signs in at every connection and reads its metadata, as this
// process would.
func (a *api) examineConnections(ctx context.Context) []httpapi.Check {
	ctx, cancel := context.WithTimeout(ctx, 2*examined)
	defer cancel()
	all, err := a.plans.Connections(ctx)
	if err != nil {
		v := broken(err)
		return []httpapi.Check{{Name: "connections", Status: v.status, Detail: v.detail}}
	}
	slices.SortFunc(all, func(x, y flow.Connection) int { return strings.Compare(x.Name, y.Name) })
	found := make([]httpapi.Check, len(all))
	var looking sync.WaitGroup
	for i, c := range all {
		looking.Go(func() {
			v := a.examineConnection(ctx, c)
			found[i] = httpapi.Check{Name: "connection " + c.Name, Status: v.status, Detail: v.detail}
		})
	}
	looking.Wait()
	return found
}

func (a *api) examineConnection(ctx context.Context, c flow.Connection) verdictOf {
	if err := a.systems.ours(nil, c); err != nil {
		return okay("not tried: it is dialled in region %s alone", c.Region)
	}
	if missing := unresolved([]flow.Connection{c}, a.Region, a.Resolve); len(missing) > 0 {
		// The process that dials is a worker; only where that is this one is it wrong.
		if a.face.Working != nil {
			return failed("%s", missing[0])
		}
		return warn("not tried: %s here; a worker may know it", missing[0])
	}
	system, err := registry().Build(connectorConfig(c, a.Speed), connector.Deps{Resolve: naming(c.Name, a.Resolve), Client: connector.NewClient()})
	if err != nil {
		return broken(err)
	}
	prober, ok := system.(connector.Prober)
	if !ok {
		return warn("not tried: a connection of this kind cannot be")
	}
	begun := time.Now()
	if err := prober.Probe(ctx); err != nil {
		return broken(err)
	}
	return okay("signed in, metadata read, %s", millis(begun))
}

func millis(since time.Time) time.Duration { return time.Since(since).Round(time.Millisecond) }
