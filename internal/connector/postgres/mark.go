package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// place is what a marker row is known by. The key is hashed: it may be long, and
// what it says stands in the row itself.
type place struct {
	Cause string `json:"cause"`
	Step  string `json:"step"`
	Key   string `json:"key"`
}

func placeOf(m connector.Mark) place {
	sum := sha256.Sum256([]byte(m.Key))
	return place{m.Cause, m.Step, hex.EncodeToString(sum[:])}
}

// marks are given to PostgreSQL as one parameter; what reads it is marked.
func marks(list []connector.Mark) string {
	type mark struct {
		place
		Fence int64 `json:"fence"`
	}
	all := make([]mark, len(list))
	for i, m := range list {
		all[i] = mark{placeOf(m), m.Fence}
	}
	body, _ := json.Marshal(all) // texts and numbers
	return string(body)
}

const marked = `json_to_recordset($1::json) as g(cause text, step text, key text, fence bigint)`

// Applied asks for the marks, and has each of them keep the fence of who asks.
func (p *Postgres) Applied(ctx context.Context, list []connector.Mark) ([]bool, error) {
	body := marks(list)
	var found map[place]bool
	err := p.with(ctx, "marks "+body, func(inner context.Context, c *pgx.Conn) error {
		var err error
		found, err = scan(c.Query(inner, `
			insert into `+p.markers+` as m (cause, step, key, fence)
			select cause, step, key, fence from `+marked+` order by cause, step, key
			on conflict (cause, step, key) do update set fence = greatest(m.fence, excluded.fence)
			returning m.cause, m.step, m.key, m.applied_at is not null`, body))
		return p.fault(ctx, inner, false, p.missing(err))
	})
	if err != nil {
		return nil, err
	}
	applied := make([]bool, len(list))
	for i, m := range list {
		applied[i] = found[placeOf(m)]
	}
	return applied, nil
}

// mark marks the rows as applied in the transaction that writes them, and gives
// those that are still to be written. fenced is why others are not.
func (u *upsert) mark(ctx context.Context, tx pgx.Tx, chunk []int, fenced map[int]error) ([]int, error) {
	list := make([]connector.Mark, len(chunk))
	for n, i := range chunk {
		list[n] = u.in.Marks[i]
	}
	ours, others, err := u.p.claim(ctx, tx, list)
	if err != nil {
		return nil, err
	}
	var write []int
	for n, i := range chunk {
		switch at := placeOf(list[n]); {
		case ours[at]:
			write = append(write, i)
		case !others[at]:
			fenced[i] = fault.New(fault.Unavailable, System+".fenced", "a later attempt has taken over the write of this row to "+u.p.config.Name, nil)
		}
	}
	return write, nil
}

// claim sets marks in the transaction of what they stand for. ours are those that it
// set; of the others it tells which are set already.
func (p *Postgres) claim(ctx context.Context, tx pgx.Tx, list []connector.Mark) (ours, others map[place]bool, err error) {
	body := marks(list)
	ours, err = scan(tx.Query(ctx, `
		insert into `+p.markers+` as m (cause, step, key, fence, applied_at)
		select cause, step, key, fence, now() from `+marked+` order by cause, step, key
		on conflict (cause, step, key) do update set fence = excluded.fence, applied_at = excluded.applied_at
		where m.applied_at is null and m.fence <= excluded.fence
		returning m.cause, m.step, m.key, true`, body))
	if err != nil {
		return nil, nil, p.missing(err)
	}
	if len(ours) == len(list) {
		return ours, nil, nil
	}
	others, err = scan(tx.Query(ctx, `
		select m.cause, m.step, m.key, m.applied_at is not null from `+p.markers+` as m join `+marked+` using (cause, step, key)`, body))
	return ours, others, err
}

// missing says what to do where the table of the marks is not there.
func (p *Postgres) missing(err error) error {
	var said *pgconn.PgError
	if errors.As(err, &said) && (said.Code == "42P01" || said.Code == "3F000") {
		return fault.New(fault.Rejected, "connector.markers",
			"the database of connection "+p.config.Name+" has no table "+p.markers+" for marks; create it as docs/postgres.md says", nil)
	}
	return err
}

func scan(rows pgx.Rows, err error) (map[place]bool, error) {
	if err != nil {
		return nil, err
	}
	found := map[place]bool{}
	var at place
	var yes bool
	_, err = pgx.ForEachRow(rows, []any{&at.Cause, &at.Step, &at.Key, &yes}, func() error { found[at] = yes; return nil })
	return found, err
}
