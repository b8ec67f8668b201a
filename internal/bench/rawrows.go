package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// rawRows writes the rows that an accepted event makes (event with its dedupe index,
// what is known of its record, its window, the funnel) by hand: one pipelined round per
// transaction, nothing read, nothing decided.
type rawRows struct {
	conn *pgx.Conn
	size int // events of one transaction
	next int64

	columns, net string // as the path wrote them
}

// rawSchema holds copies of the tables, with all their indexes.
const rawSchema = `
	create schema if not exists bench_raw;
	create table if not exists bench_raw.event (like event including all);
	create table if not exists bench_raw.record (like record including all);
	create table if not exists bench_raw.change_window (like change_window including all);
	create table if not exists bench_raw.funnel (like funnel including all)`

func newRawRows(ctx context.Context, address string, size int) (*rawRows, error) {
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return nil, err
	}
	r := &rawRows{conn: conn, size: size}
	if _, err = conn.Exec(ctx, rawSchema); err == nil {
		err = conn.QueryRow(ctx, `
			select (select columns::text from record where flow = $1 limit 1), (select net::text from change_window where flow = $1 limit 1)`, keeping).
			Scan(&r.columns, &r.net)
	}
	if err != nil {
		_ = conn.Close(ctx)
		return nil, fmt.Errorf("preparing the raw inserts: %w", err)
	}
	return r, nil
}

// write inserts for as long as told.
func (r *rawRows) write(ctx context.Context, lasting time.Duration) (events int, took time.Duration, err error) {
	began := time.Now()
	for time.Since(began) < lasting {
		if err := r.group(ctx); err != nil {
			return 0, 0, fmt.Errorf("inserting raw rows: %w", err)
		}
		events += r.size
	}
	return events, time.Since(began), nil
}

func (r *rawRows) group(ctx context.Context) error {
	ids, names := make([]int64, r.size), make([]string, r.size)
	eventIDs, sums := make([][]byte, r.size), make([][]byte, r.size)
	docs, nets := make([]string, r.size), make([]string, r.size)
	for i := range ids {
		r.next++
		ids[i], names[i] = r.next, "CASE-"+strconv.FormatInt(r.next, 10)
		eventIDs[i] = scattered(r.next)
		sums[i], docs[i], nets[i] = eventIDs[i], r.columns, r.net
	}
	var batch pgx.Batch
	batch.Queue(`begin`)
	batch.Queue(`
		insert into bench_raw.event (id, flow, source, event_id, sum, record, key, change, version, at, after, reason, window_id)
		select id, 'bench-keeping', 'bench-crm.case', event_id, sum, name, name, 'update', 1, now(), doc::json, 'waiting', id
		from unnest($1::bigint[], $2::bytea[], $3::bytea[], $4::text[], $5::text[]) as e(id, event_id, sum, name, doc)`, ids, eventIDs, sums, names, docs)
	batch.Queue(`
		insert into bench_raw.record (flow, source, record, version, at, columns)
		select 'bench-keeping', 'bench-crm.case', name, 1, now(), doc::json from unnest($1::text[], $2::text[]) as r(name, doc)`, names, docs)
	batch.Queue(`
		insert into bench_raw.change_window (id, flow, key, due_at, max_at, net, events, lead)
		select id, 'bench-keeping', name, now() + interval '1 hour' + id * interval '1 microsecond', now() + interval '2 hours', net::json, 1, id
		from unnest($1::bigint[], $2::text[], $3::text[]) as w(id, name, net)`, ids, names, nets)
	batch.Queue(`
		insert into bench_raw.funnel (flow, at, stage, n) values ('bench-keeping', date_trunc('minute', now()), 'received', $1)
		on conflict (flow, at, stage) do update set n = funnel.n + excluded.n`, int64(r.size))
	batch.Queue(`commit`)
	return r.conn.SendBatch(ctx, &batch).Close()
}

// scattered is an ID as a digest is: neighbours of it are anybody's.
func scattered(n int64) []byte {
	b := make([]byte, 16)
	x := uint64(n) * 0x9e3779b97f4a7c15
	for i := range b {
		x ^= x >> 29
		x *= 0xbf58476d1ce4e5b9
		b[i] = byte(x >> 56)
	}
	return b
}
