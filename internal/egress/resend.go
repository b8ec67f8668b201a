package egress

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Wanted tells of which tables of a flow other regions want to be told all, and the time of
// the last question, which Retold takes.
func (e *Egress) Wanted(ctx context.Context, flowName string) (map[string]time.Time, error) {
	wanted := map[string]time.Time{}
	err := e.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `select "table", max(asked) from egress.resend where flow = $1 and upto is null group by 1`, flowName)
		if err != nil {
			return err
		}
		var table string
		var at time.Time
		_, err = pgx.ForEachRow(rows, []any{&table, &at}, func() error { wanted[table] = at; return nil })
		return err
	})
	return wanted, err
}

// Retold says that all that was asked for until a moment has been put into batches.
func (e *Egress) Retold(ctx context.Context, flowName, table string, asked time.Time) error {
	return e.store.Write(ctx, func(c *pgxpool.Conn) error {
		_, err := c.Exec(ctx, `
			update egress.resend r set upto = (select last from egress.border b where b.flow = r.flow and b."table" = r."table")
			where flow = $1 and "table" = $2 and upto is null and asked <= $3`, flowName, table, asked)
		return err
	})
}
