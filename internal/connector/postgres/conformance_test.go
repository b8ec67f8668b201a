package postgres_test

import (
	"context"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
	"patchbay/internal/connector/conformance"
	"patchbay/internal/connector/postgres"
)

func TestPostgresKeepsTheContract(t *testing.T) {
	t.Parallel()
	conformance.RunDatabase(t, func(t *testing.T) conformance.Database {
		b := newBundle(t)
		b.exec(`create table ledger (account int, day date, total numeric, note text, primary key (account, day))`)
		u, err := url.Parse(b.owner)
		require.NoError(t, err)
		password, _ := u.User.Password()
		server := u.Host
		return conformance.Database{
			Server: server,
			Connect: func(address string, adjust func(*connector.Config, *connector.Deps)) any {
				to := *u
				to.User, to.RawQuery, to.Host = nil, "", address
				secrets := strings.NewReplacer("${env:DB}", to.String(), "${env:PASSWORD}", password)
				c, d := b.config, connector.Deps{Resolve: func(text string) (string, error) { return secrets.Replace(text), nil }}
				adjust(&c, &d)
				pg, err := postgres.New(c, d)
				require.NoError(t, err)
				t.Cleanup(func() { pg.Close(context.Background()) })
				return pg
			},
			Query: connector.Query{Table: "ledger", Select: []string{"account", "total", "note"}, Limit: 4},
			Fill: func(rows int) {
				b.exec(`insert into ledger select n, '2026-01-01', n * 1.10, 'note' from generate_series(0, ` + strconv.Itoa(rows-1) + `) as n`)
			},
			Upsert:    connector.Upsert{Table: "invoice", Key: []string{"Number"}, Rows: []connector.Row{{"Number": "A", "note": "a"}, {"Number": "B", "note": "b"}}},
			Written:   func() int { n, _ := strconv.Atoi(b.text(`select count(*) from "Acc".invoice`)); return n },
			Committed: []byte("COMMIT\x00"),
		}
	})
}
