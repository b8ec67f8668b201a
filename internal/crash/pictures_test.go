package crash

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
)

type (
	// gallery is an ERP, a database of its own in the cluster of the judge, with pictures
	// that consolidations make there. It keeps itself how often it was written to.
	gallery struct {
		w        *world
		sql      *pgxpool.Pool
		url      string // without user
		password string

		list  []*picture
		timed *picture // by a schedule; nil: none is
	}

	// picture is the flow and the schema of one picture. Whoever changes it waits until
	// the run is over that shows it: then what is to be there is known to the row.
	picture struct {
		flow   string
		schema string
		spoilt bool // a customer is refused by the target, and the plan of another
		free   chan struct{}

		painted bool             // by a run that completed
		changes map[string]int64 // how often each customer's row became another one
		runs    int
	}

	// brush is how a picture is painted once.
	brush struct {
		edits   int    // customers that change before
		refused bool   // it is one with a refused plan, whose customer changes too
		trouble string // of a source while it is read; see erp.sql
		lasting time.Duration
		full    bool
		mayFail string
	}
)

// often is the schedule of the picture that has one.
const (
	often = 4 * time.Second
	timed = "schedule: { every: 4s, overlap: skip, catch_up: 10m }"
)

// hang makes the ERP and the flows of pictures, each with its own connection, besides
// those that the directory of flows has.
func (w *world) hang(size size, cluster string) {
	w.t.Helper()
	at, err := url.Parse(cluster)
	require.NoError(w.t, err)
	g := &gallery{w: w, password: rand.Text()}
	w.gallery = g
	conn, err := pgx.Connect(w.ctx, cluster)
	require.NoError(w.t, err)
	defer func() { _ = conn.Close(w.ctx) }()
	_, err = conn.Exec(w.ctx, `create role erp login password '`+g.password+`'`)
	require.NoError(w.t, err)
	_, err = conn.Exec(w.ctx, `create database erp owner erp`)
	require.NoError(w.t, err)
	at.Path, at.RawQuery, at.User = "/erp", "", nil
	g.url = at.String()
	at.User = url.UserPassword("erp", g.password)
	g.sql, err = pgxpool.New(w.ctx, at.String())
	require.NoError(w.t, err)
	w.t.Cleanup(g.sql.Close)

	_, err = g.sql.Exec(w.ctx, `create table patchbay_effect (cause text not null, step text not null, key text not null, fence bigint not null,
		noted_at timestamptz not null default now(), applied_at timestamptz, primary key (cause, step, key))`)
	require.NoError(w.t, err)
	tables, err := os.ReadFile("testdata/erp.sql")
	require.NoError(w.t, err)
	text, err := os.ReadFile(filepath.Join(w.dir, "flows", "crash-picture.yaml"))
	require.NoError(w.t, err)
	path := filepath.Join(w.dir, "flows", "connections.yaml")
	connections, err := os.ReadFile(path)
	require.NoError(w.t, err)
	_, own, found := strings.Cut(string(connections), "\n  erp:\n")
	require.True(w.t, found, "the connection is the last one")
	require.NoError(w.t, os.Remove(filepath.Join(w.dir, "flows", "crash-picture.yaml")))
	for n := range size.pictures + map[bool]int{true: 1}[size.slots] {
		p := &picture{flow: fmt.Sprintf("crash-picture-%d", n), schema: fmt.Sprintf("picture_%d", n), free: make(chan struct{}, 1), changes: map[string]int64{}}
		when := timed
		if n == size.pictures {
			g.timed = p
		} else {
			when, p.spoilt = "", n%2 == 1
			p.free <- struct{}{}
			g.list = append(g.list, p)
		}
		_, err = g.sql.Exec(w.ctx, fmt.Sprintf("create schema %[1]s; set search_path to %[1]s;\n%s; reset search_path",
			p.schema, strings.ReplaceAll(string(tables), ":spoilt", fmt.Sprint(p.spoilt))))
		require.NoError(w.t, err)
		connection := fmt.Sprintf("erp-%d", n)
		connections = append(connections, "\n  "+connection+":\n"+strings.ReplaceAll(own, "path: picture.", "path: "+p.schema+".")...)
		one := strings.NewReplacer("flow: crash-picture", "flow: "+p.flow, "\ngather:", "\n"+when+"\ngather:", " erp.", " "+connection+".").Replace(string(text))
		require.NoError(w.t, os.WriteFile(filepath.Join(w.dir, "flows", p.flow+".yaml"), []byte(one), 0o600))
	}
	require.NoError(w.t, os.WriteFile(path, connections, 0o600))
}

// take gives a picture that no run is at, nil when there is none.
func (g *gallery) take(spoilt bool) *picture {
	for _, p := range g.list {
		if spoilt && !p.spoilt {
			continue
		}
		select {
		case <-p.free:
			return p
		default:
		}
	}
	return nil
}

// paint changes the sources of a picture that is free and has it painted, which goes on
// in the background and is judged when the run is over. Where all are under way there is
// nothing to do.
func (g *gallery) paint(step string, b brush) {
	p := g.take(b.refused)
	if p == nil {
		return
	}
	wrong := func(err error) {
		if g.w.ctx.Err() == nil {
			g.w.t.Errorf("%s (%s): %v", p.flow, step, err)
		}
	}
	if err := g.change(p, &b); err != nil {
		wrong(err)
		return // what it is to be is not known any more
	}
	g.w.under.Go(func() {
		if err := g.once(p, step, b); err != nil {
			wrong(err)
		}
		p.free <- struct{}{}
	})
}

// once has a picture painted, and holds it against SQL.
func (g *gallery) once(p *picture, step string, b brush) error {
	p.runs++
	press := &press{Mark: fmt.Sprintf("%s-%d", p.flow, p.runs), Flow: p.flow, Step: step, cancel: never}
	press.key = press.Mark
	run, err := g.carry(press, b.full)
	switch {
	case err != nil:
		return err
	case run.Status == flow.Failed && b.mayFail != "" && run.Problem.Code == b.mayFail:
	case run.Status == flow.Failed && p.spoilt && slices.Contains([]string{"write.refused", "write.in_doubt"}, run.Problem.Code):
		// Of a plan; one that was refused when it was sent again is in doubt to the ledger.
		p.painted, err = true, figures(run)
	case run.Status != flow.Completed:
		return fmt.Errorf("run %s is %s: %+v", run.RunID, run.Status, run.Problem)
	default:
		p.painted, err = true, figures(run)
	}
	if err != nil {
		return err
	}
	return g.there(func(ctx context.Context) error {
		if _, err := g.sql.Exec(ctx, p.in(`delete from :trouble`)); err != nil {
			return err
		}
		return g.exact(ctx, p)
	})
}

// errWrong is of a picture that is not what it should be.
var errWrong = errors.New("wrong")

// there looks at the ERP, which may be away for a moment as all else may.
func (g *gallery) there(look func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(g.w.ctx, time.Minute)
	defer cancel()
	for {
		err := look(ctx)
		if err == nil || errors.Is(err, errWrong) || !wait(ctx, 200*time.Millisecond) {
			return err
		}
	}
}

// change makes customers others than they were, and trouble. A picture that was never
// painted is begun without.
func (g *gallery) change(p *picture, b *brush) error {
	if !p.painted {
		*b = brush{}
		p.begin()
	}
	if b.edits > 0 {
		rows, err := g.sql.Query(g.w.ctx, p.in(`
			update :invoice set amount = amount + 1, changed_at = clock_timestamp() where number in (
				select min(number) from :invoice where customer in (select id from :customer order by id = $2 desc, random() limit $1) group by customer)
			returning customer`), b.edits, map[bool]string{true: "C2"}[b.refused])
		if err != nil {
			return err
		}
		changed, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return fmt.Errorf("changing customers: %w", err)
		}
		for _, id := range changed {
			p.changes[id]++
		}
	}
	if b.trouble == "" {
		return nil
	}
	_, err := g.sql.Exec(g.w.ctx, p.in(`insert into :trouble values ($1, clock_timestamp() + $2::interval)`), b.trouble, b.lasting)
	return err
}

// begin counts all customers as changed.
func (p *picture) begin() {
	for n := range 12 {
		p.changes[fmt.Sprintf("C%d", n+1)] = 1
	}
}

// in names the tables of a picture.
func (p *picture) in(sql string) string { return strings.ReplaceAll(sql, " :", " "+p.schema+".") }

// carry presses until the run is accepted, and asks until it has ended.
func (g *gallery) carry(p *press, full bool) (flow.Run, error) {
	ctx, cancel := context.WithTimeout(g.w.ctx, g.w.patience)
	defer cancel()
	params, _ := json.Marshal(map[string]any{"full": full})
	for {
		err := g.w.insist(ctx, p, http.MethodPost, "/v1/flows/"+p.Flow+"/runs", string(params))
		if err == nil {
			break
		}
		if !strings.Contains(err.Error(), "run.overlap") || !wait(ctx, 200*time.Millisecond) {
			return p.run, err
		}
	}
	return p.run, g.w.final(ctx, p)
}

// figures requires that no row of a run has disappeared.
func figures(run flow.Run) error {
	var c flow.Completeness
	if err := json.Unmarshal(run.Completeness, &c); err != nil {
		return fmt.Errorf("its figures: %w", err)
	}
	for name, s := range c.Sources {
		if s.Read != s.Staged+s.Rejected || s.Staged != s.Used+s.Unmatched+s.Duplicate {
			return fmt.Errorf("of the rows of %s some have disappeared: %+v", name, s)
		}
	}
	if t := c.Target; t.Keys != t.Written+t.Unchanged+t.Rejected {
		return fmt.Errorf("of its keys some have disappeared: %+v", t)
	}
	return nil
}

// exact requires that a picture is what SQL says, and that each of its rows was written
// as often as it became another one.
func (g *gallery) exact(ctx context.Context, p *picture) error {
	const pictured = `
		select c.id, c.name, count(i.number), coalesce(sum(i.amount), 0)::numeric(18, 2), a.mail
		from :customer c left join :invoice i on i.customer = c.id left join :address a on a.customer = c.id
		group by c.id, c.name, a.mail having coalesce(sum(i.amount), 0) < 1000000`
	var wrong, extra int
	var unplanned []string
	err := g.sql.QueryRow(ctx, p.in(`
		select (select count(*) from (`+pictured+` except select * from :picture) x), (select count(*) from (select * from :picture except `+pictured+`) x),
		       array(select id from :customer c where not exists (select from :plan l where l.id = c.id and action <> '' and l.source in ('model', 'rules')) order by id)`)).
		Scan(&wrong, &extra, &unplanned)
	if err != nil {
		return fmt.Errorf("comparing: %w", err)
	}
	if !p.painted {
		if wrong = 0; len(unplanned) == 12 {
			unplanned = nil
		}
	}
	if wrong != 0 || extra != 0 {
		return fmt.Errorf("%w: %d rows are missing or others, %d are too many or others", errWrong, wrong, extra)
	}
	refused := map[string]string{}
	if p.spoilt {
		refused = map[string]string{"picture": "C1", "plan": "C2"}
		unplanned = slices.DeleteFunc(unplanned, func(id string) bool { return id == refused["plan"] })
	}
	if len(unplanned) > 0 {
		return fmt.Errorf("%w: nobody has a plan for %v", errWrong, unplanned)
	}
	if p.painted {
		return g.counted(ctx, p, refused)
	}
	return nil
}

// counted requires that rows were written as often as they became others. A customer
// whose picture is refused gets a plan by each run.
func (g *gallery) counted(ctx context.Context, p *picture, refused map[string]string) error {
	rows, err := g.sql.Query(ctx, p.in(`select what, id, times from :written`))
	if err != nil {
		return fmt.Errorf("counting writes: %w", err)
	}
	written := map[string]map[string]int64{"picture": {}, "plan": {}}
	var what, id string
	var times int64
	if _, err = pgx.ForEachRow(rows, []any{&what, &id, &times}, func() error { written[what][id] = times; return nil }); err != nil {
		return fmt.Errorf("counting writes: %w", err)
	}
	var wrong []error
	for _, what := range []string{"picture", "plan"} {
		for _, id := range slices.Sorted(maps.Keys(p.changes)) {
			should, did := p.changes[id], written[what][id]
			switch {
			case id == refused[what]:
				should = 0
			case id == refused["picture"]:
				should = did
			}
			if did != should {
				wrong = append(wrong, fmt.Errorf("%w: the %s of %s was written %d times for %d changes", errWrong, what, id, did, should))
			}
		}
	}
	return errors.Join(wrong...)
}
