package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

const (
	feedPrefix = "patchbay_"
	// noteWord begins the comment of a publication, by which we know what we made of it.
	noteWord = "patchbay "
	// waitForReader is how long a slot may be in use by a reader that is perhaps just
	// leaving, before it is made to leave. takeOver is all of that.
	waitForReader = 2 * time.Second
	takeOver      = 15 * time.Second
	retryReader   = 100 * time.Millisecond

	codeExpired = "connector.cursor_expired"
)

var feedName = regexp.MustCompile(`^[a-z0-9_]{1,40}$`)

type (
	// feed is one call of Tail under way.
	feed struct {
		p           *Postgres
		in          connector.Feed
		publication string
		slot        string
		tables      []*bound
		offset      time.Duration // what the server's clock is ahead of ours
		since       pglogrepl.LSN // what commits later is told as the publication is now
		from        pglogrepl.LSN
		confirmed   pglogrepl.LSN
	}

	// columnsOf is what a publication tells: the numbers of columns, sorted, by table.
	columnsOf map[uint32][]int16

	// noted is what we made a publication tell, and where in the log that began.
	noted struct {
		Since  string            `json:"since"`
		Tables columnsOf         `json:"tables"`
		Names  map[string]uint32 `json:"names,omitempty"` // the tables, as the connection calls them
	}
)

// Tail makes the publication and the slot of a feed where they are missing, makes the
// publication tell of exactly the feed's columns, and follows it. The publication comes
// first: the log can be read by it from where it was made on.
func (p *Postgres) Tail(ctx context.Context, in connector.Feed, after string) (connector.Stream, error) {
	f := &feed{p: p, in: in}
	var from pglogrepl.LSN
	if after != "" {
		var ok bool
		if from, ok = parsePosition(after); !ok {
			return nil, fault.Invalidf("connector.position", "the position of a feed is not one that this connector gave")
		}
	}
	if !feedName.MatchString(in.Name) || len(in.Tables) == 0 {
		return nil, fault.Invalidf("connector.feed", "a feed has a name of a-z, 0-9 and _, at most 40 of them, and tables")
	}
	err := p.during(ctx, p.gate.Longer(2), "tail "+in.Name, func(inner context.Context, c *pgx.Conn) error {
		if err := f.prepare(inner, c, from); err != nil {
			return p.fault(ctx, inner, false, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return f.open(ctx)
}

// DropFeed removes the slot and the publication of a feed.
func (p *Postgres) DropFeed(ctx context.Context, name string) error {
	if !feedName.MatchString(name) {
		return fault.Invalidf("connector.feed", "a feed has a name of a-z, 0-9 and _, at most 40 of them")
	}
	return p.with(ctx, "drop feed "+name, func(inner context.Context, c *pgx.Conn) error {
		slot, err := slotName(inner, c, name)
		for err == nil {
			if _, err = c.Exec(inner, `select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = $1 and active_pid is not null`, slot); err != nil {
				break
			}
			_, err = c.Exec(inner, `select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1`, slot)
			if !inUse(err) {
				break
			}
			err = pause(inner, retryReader)
		}
		if err == nil {
			_, err = c.Exec(inner, "drop publication if exists "+feedPrefix+name)
		}
		return p.fault(ctx, inner, false, err)
	})
}

// slotName is unique in the cluster, of which a database is a part.
func slotName(ctx context.Context, c *pgx.Conn, name string) (slot string, err error) {
	var oid uint32
	err = c.QueryRow(ctx, `select oid from pg_database where datname = current_database()`).Scan(&oid)
	return feedPrefix + name + "_" + strconv.FormatUint(uint64(oid), 10), err
}

func (f *feed) prepare(inner context.Context, c *pgx.Conn, after pglogrepl.LSN) (err error) {
	f.publication = feedPrefix + f.in.Name
	if f.slot, err = slotName(inner, c, f.in.Name); err != nil {
		return err
	}
	var level string
	var now time.Time
	if err := c.QueryRow(inner, `select current_setting('wal_level'), clock_timestamp()`).Scan(&level, &now); err != nil {
		return err
	}
	f.offset = time.Until(now)
	if level != "logical" {
		return fault.New(fault.Rejected, System+".wal_level", f.p.config.Name+" keeps no log that can be read; set wal_level = logical there and restart it", nil)
	}
	if err := pgx.BeginTxFunc(inner, c, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error { return f.publish(inner, tx, after != 0) }); err != nil {
		return err
	}
	return f.position(inner, c, after)
}

// publish makes the publication what the feed is, and makes sure that it became that.
// going says that somebody goes on in the middle: then what the publication did not tell
// of in between is missed, and said.
func (f *feed) publish(ctx context.Context, tx pgx.Tx, going bool) error {
	_, err := tx.Exec(ctx, `select set_config('lock_timeout', '5s', true), pg_advisory_xact_lock(hashtextextended($1, 7))`, f.publication)
	if err != nil {
		return err
	}
	want, names := columnsOf{}, map[string]uint32{}
	for _, t := range f.in.Tables {
		b, err := f.p.bind(ctx, tx, t)
		if err == nil {
			err = b.followable(f.p)
		}
		if err != nil {
			return err
		}
		f.tables = append(f.tables, b)
		want[b.oid], names[t.Table] = b.numbers(), b.oid
	}
	have, note, exists, err := published(ctx, tx, f.publication)
	if err != nil {
		return err
	}
	for name, oid := range note.Names { // any of them
		if now, wanted := names[name]; going && wanted && now != oid {
			return f.expired("table " + name + " is another one than the one that was read")
		}
	}
	f.since, _ = parsePosition(note.Since)
	if going && (!exists || note.Tables.lacks(have)) {
		return f.expired("somebody took tables or columns out of its publication, and what changed there meanwhile was not told")
	}
	if exists && have.equal(want) && (note.Tables == nil || note.Tables.equal(want)) {
		return nil
	}
	lists := make([]string, len(f.tables))
	for i, b := range f.tables {
		columns := b.published()
		quotedNames := make([]string, len(columns))
		for n, a := range columns {
			quotedNames[n] = pgx.Identifier{a.name}.Sanitize()
		}
		lists[i] = b.path + " (" + strings.Join(quotedNames, ", ") + ")"
	}
	statement := "create publication " + f.publication + " for table " + strings.Join(lists, ", ") +
		" with (publish = 'insert, update, delete, truncate', publish_via_partition_root = true)"
	if exists {
		statement = "alter publication " + f.publication + " set table " + strings.Join(lists, ", ")
	}
	if _, err := tx.Exec(ctx, statement, pgx.QueryExecModeSimpleProtocol); err != nil {
		return err
	}
	note = noted{Tables: want, Names: names}
	if err := tx.QueryRow(ctx, `select pg_current_wal_insert_lsn()::text`).Scan(&note.Since); err != nil {
		return err
	}
	f.since, _ = parsePosition(note.Since)
	body, err := json.Marshal(note)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "comment on publication "+f.publication+" is '"+noteWord+string(body)+"'", pgx.QueryExecModeSimpleProtocol); err != nil {
		return err
	}
	// Names were bound to columns a second time.
	have, _, _, err = published(ctx, tx, f.publication)
	if err == nil && !have.equal(want) {
		err = fault.New(fault.Unavailable, System+".changing", "a table of the feed in "+f.p.config.Name+" is being changed", nil)
	}
	return err
}

func (b *bound) numbers() []int16 {
	var list []int16
	for _, a := range b.published() {
		list = append(list, a.number)
	}
	return list
}

// published is what a publication tells, and what we noted of it; without tables it is
// that of somebody else.
func published(ctx context.Context, tx pgx.Tx, name string) (have columnsOf, note noted, exists bool, err error) {
	var comment string
	err = tx.QueryRow(ctx, `select coalesce(obj_description(oid, 'pg_publication'), '') from pg_publication where pubname = $1`, name).Scan(&comment)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, note, false, nil
	}
	if err != nil {
		return nil, note, false, err
	}
	if body, ours := strings.CutPrefix(comment, noteWord); ours && json.Unmarshal([]byte(body), &note) != nil {
		note = noted{}
	}
	// A publication that tells of a part of the rows, or not of all changes, is as none.
	rows, err := tx.Query(ctx, `
		select r.prrelid, case when r.prqual is null and p.pubinsert and p.pubupdate and p.pubdelete and p.pubtruncate and p.pubviaroot
		       then coalesce(r.prattrs::int2[], '{}') else '{}' end
		from pg_publication p join pg_publication_rel r on r.prpubid = p.oid where p.pubname = $1`, name)
	if err != nil {
		return nil, note, false, err
	}
	have = columnsOf{}
	var table uint32
	var numbers []int16
	_, err = pgx.ForEachRow(rows, []any{&table, &numbers}, func() error {
		have[table] = slices.Sorted(slices.Values(numbers))
		return nil
	})
	return have, note, true, err
}

func (c columnsOf) equal(other columnsOf) bool {
	return maps.EqualFunc(c, other, slices.Equal[[]int16])
}

// lacks reports whether have does not tell of all that was noted.
func (c columnsOf) lacks(have columnsOf) bool {
	for table, numbers := range c {
		for _, n := range numbers {
			if !slices.Contains(have[table], n) {
				return true
			}
		}
	}
	return false
}

// position finds where to read on, and makes the slot where nobody has read yet.
func (f *feed) position(ctx context.Context, c *pgx.Conn, after pglogrepl.LSN) error {
	if after == 0 {
		_, err := c.Exec(ctx, `
			select pg_create_logical_replication_slot($1, 'pgoutput') where not exists (select from pg_replication_slots where slot_name = $1)`, f.slot)
		if err != nil {
			return err
		}
	}
	var status, confirmed, end string
	var ours bool
	err := c.QueryRow(ctx, `
		select coalesce(wal_status, ''), coalesce(confirmed_flush_lsn::text, ''), plugin = 'pgoutput' and database = current_database(), pg_current_wal_lsn()::text
		from pg_replication_slots where slot_name = $1`, f.slot).Scan(&status, &confirmed, &ours, &end)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return f.expired("its replication slot is not there any more")
	case err != nil:
		return err
	case !ours:
		return fault.New(fault.Rejected, "connector.feed", "the replication slot "+f.slot+" of "+f.p.config.Name+" is of somebody else", nil)
	case status == "lost":
		return f.expired("it was not read for so long that the log was thrown away (max_slot_wal_keep_size)")
	}
	var ok, known bool
	f.confirmed, ok = parsePosition(confirmed)
	last, known := parsePosition(end)
	if !ok || !known {
		return f.expired("its replication slot has no position")
	}
	f.from = max(after, f.confirmed)
	switch {
	case after != 0 && after < f.confirmed:
		return f.expired("its replication slot was confirmed further than it was read to")
	case after > last:
		return f.expired("the log ends before the position: the database is an earlier one")
	}
	return nil
}

func (f *feed) expired(why string) error {
	return fault.New(fault.Conflict, codeExpired, "the feed "+f.in.Name+" of "+f.p.config.Name+" cannot go on where it was read to; "+why+". Its tables have to be read from the beginning", nil)
}

// open starts the stream. A slot that somebody reads is waited for, and taken over from
// a reader that stays: there is one of us at a time, and it is the other that is dead.
func (f *feed) open(ctx context.Context) (*stream, error) {
	begun := time.Now()
	until := begun.Add(waitForReader)
	for {
		conn, err := f.start(ctx)
		if err == nil {
			return f.p.streaming(f, conn), nil //nolint:contextcheck // it outlives this call, until Close
		}
		if !inUse(err) || time.Since(begun) > takeOver {
			return nil, f.p.fault(ctx, ctx, false, err)
		}
		if time.Now().After(until) {
			err := f.p.with(ctx, "take over "+f.slot, func(inner context.Context, c *pgx.Conn) error {
				_, err := c.Exec(inner, `select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = $1 and active_pid is not null`, f.slot)
				return f.p.fault(ctx, inner, false, err)
			})
			if err != nil {
				return nil, err
			}
			until = time.Now().Add(waitForReader)
		}
		if err := pause(ctx, retryReader); err != nil {
			return nil, err
		}
	}
}

func (f *feed) start(ctx context.Context) (*pgconn.PgConn, error) {
	var conn *pgconn.PgConn
	err := f.p.gate.Pass(ctx, "stream "+f.slot, func(inner context.Context) error {
		c, err := f.p.address()
		if err != nil {
			return err
		}
		c.RuntimeParams["replication"] = "database"
		if conn, err = pgconn.ConnectConfig(inner, &c.Config); err != nil {
			return f.p.fault(ctx, inner, false, err)
		}
		args := []string{"proto_version '1'", fmt.Sprintf("publication_names '%s'", f.publication)}
		if f.p.origins {
			args = append(args, "messages 'true'")
		}
		err = pglogrepl.StartReplication(inner, conn, f.slot, f.from, pglogrepl.StartReplicationOptions{PluginArgs: args})
		if err == nil {
			return nil
		}
		bye, cancel := context.WithTimeout(context.WithoutCancel(inner), time.Second)
		defer cancel()
		_ = conn.Close(bye)
		if inUse(err) {
			busy := fault.New(fault.Unavailable, "connector.feed_in_use", "the feed "+f.in.Name+" of "+f.p.config.Name+" is read by somebody else", err)
			busy.After = waitForReader
			return busy
		}
		return f.p.fault(ctx, inner, false, err)
	})
	return conn, err
}

func inUse(err error) bool {
	var said *pgconn.PgError
	return errors.As(err, &said) && said.Code == "55006"
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// parsePosition reads an LSN.
func parsePosition(text string) (pglogrepl.LSN, bool) {
	high, low, ok := strings.Cut(text, "/")
	h, err := strconv.ParseUint(high, 16, 32)
	l, wrong := strconv.ParseUint(low, 16, 32)
	return pglogrepl.LSN(h<<32 | l), ok && err == nil && wrong == nil
}

// Reached compares log positions.
func (p *Postgres) Reached(position, mark string) bool {
	at, ok := parsePosition(position)
	to, known := parsePosition(mark)
	return ok && known && at >= to
}
