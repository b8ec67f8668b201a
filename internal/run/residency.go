package run

import (
	"context"
	"encoding/json"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"patchbay/internal/flow"
)

// Report keeps what deploys let cross which border. One that is as the one before of its
// flow, with the same plan, is no other deploy; a flow of which nothing ever crossed has none.
func (p *Plans) Report(ctx context.Context, reports []flow.ResidencyReport) error {
	return p.store.Tx(ctx, func(tx pgx.Tx) error {
		var batch pgx.Batch
		for _, r := range reports {
			crossings, err := json.Marshal(r.Crossings)
			if err != nil {
				return err
			}
			batch.Queue(`
				insert into residency_report (flow, digest, by, crossings)
				select $1, $2, $3, $4 from (select 1) as one
				left join lateral (select digest, crossings from residency_report where flow = $1 order by id desc limit 1) as last on true
				where case when last.digest is null then $4::jsonb <> '[]' else last.digest <> $2 or last.crossings <> $4::jsonb end`,
				r.Flow, r.Digest, r.By, crossings)
		}
		return tx.SendBatch(ctx, &batch).Close()
	})
}

// Reports gives the latest reports of a flow, the newest first; at most so many.
func (p *Plans) Reports(ctx context.Context, name string, most int) (all []flow.ResidencyReport, err error) {
	err = p.store.Read(ctx, func(c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `select flow, digest, at, by, crossings from residency_report where flow = $1 order by id desc limit $2`, name, most)
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (r flow.ResidencyReport, err error) {
			var crossings []byte
			if err := row.Scan(&r.Flow, &r.Digest, &r.At, &r.By, &crossings); err != nil {
				return r, err
			}
			return r, json.Unmarshal(crossings, &r.Crossings)
		})
		return err
	})
	return all, err
}
