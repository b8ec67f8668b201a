package postgres_test

import (
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

func TestAWriteWhoseAnswerWasLostIsFoundByItsMarkAndNotRepeated(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	u, err := url.Parse(b.owner)
	require.NoError(t, err)
	wire := newLine(t, u.Host)
	password, _ := u.User.Password()
	u.User, u.RawQuery, u.Host = nil, "", wire.address
	secrets := strings.NewReplacer("${env:DB}", u.String(), "${env:PASSWORD}", password)
	pg := b.build(func(text string) (string, error) { return secrets.Replace(text), nil })
	wire.loses(true)
	row := connector.Row{"Number": "A", "amount": json.Number("10.25")}
	_, err = b.upsert(pg, mark(1, "A"), row)
	require.Equal(t, fault.InDoubt, fault.Of(err).Class, "%v: %v", err, errors.Unwrap(err))
	require.Equal(t, 1, wire.losses())
	wire.loses(false)
	require.Equal(t, "10.2500", b.text(`select amount from "Acc".invoice`), "it was committed")

	b.exec(`update "Acc".invoice set amount = 7`) // somebody corrects it meanwhile
	applied, err := pg.Applied(t.Context(), mark(2, "A", "never sent"))
	require.NoError(t, err)
	require.Equal(t, []bool{true, false}, applied)
	results, err := b.upsert(pg, mark(3, "A"), row) // and were it sent again nevertheless:
	require.NoError(t, err)
	require.NoError(t, results[0].Err)
	require.Equal(t, "7.0000", b.text(`select amount from "Acc".invoice`))
}

func TestAZombiesLateWriteIsRefusedInTheTargetsTransaction(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	applied, err := b.pg.Applied(t.Context(), mark(2, "A")) // the successor asks
	require.NoError(t, err)
	require.Equal(t, []bool{false}, applied)
	marks := append(mark(1, "A"), mark(1, "B")...)
	results, err := b.upsert(b.pg, marks, connector.Row{"Number": "A"}, connector.Row{"Number": "B"})
	require.NoError(t, err)
	require.Equal(t, "postgres.fenced", fault.Of(results[0].Err).Code)
	require.Equal(t, fault.Unavailable, fault.Of(results[0].Err).Class)
	require.NoError(t, results[1].Err, "nobody asked for this one")
	require.Equal(t, "{B}", b.text(`select array_agg("Number") from "Acc".invoice`))

	results, err = b.upsert(b.pg, mark(2, "A"), connector.Row{"Number": "A"})
	require.NoError(t, err)
	require.NoError(t, results[0].Err, "the successor itself writes")
	require.Equal(t, "2", b.text(`select count(*) from "Acc".invoice`))
}

func TestWhoAsksForAMarkWaitsForTheTransactionThatMayStillSetIt(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	zombie, err := pgx.Connect(t.Context(), b.owner)
	require.NoError(t, err)
	defer func() { _ = zombie.Close(t.Context()) }()
	_, err = b.pg.Applied(t.Context(), mark(1, "A"))
	require.NoError(t, err)
	tx, err := zombie.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `update patchbay_effect set applied_at = now()`) // written, and not yet committed
	require.NoError(t, err)
	asked := make(chan []bool, 1)
	go func() {
		applied, err := b.pg.Applied(t.Context(), mark(2, "A"))
		if err != nil {
			t.Error(err)
		}
		asked <- applied
	}()
	for b.text(`select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()`) == "0" {
		require.Empty(t, asked, "an answer now could only be a guess")
	}
	require.NoError(t, tx.Commit(t.Context()))
	require.Equal(t, []bool{true}, <-asked)
}

func TestARefusedRowLeavesNoMark(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	results, err := b.upsert(b.pg, mark(1, "A", "B"), connector.Row{"Number": "A", "amount": json.Number("-1")}, connector.Row{"Number": "B"})
	require.NoError(t, err)
	require.Equal(t, "postgres.check", fault.Of(results[0].Err).Code)
	require.NoError(t, results[1].Err)
	applied, err := b.pg.Applied(t.Context(), mark(2, "A", "B"))
	require.NoError(t, err)
	require.Equal(t, []bool{false, true}, applied)
	require.NotContains(t, b.text(`select json_agg(m) from patchbay_effect as m`), `"A"`, "the key itself is not kept")
}

func TestADatabaseWithoutTheTableOfMarksSaysWhatToDo(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.exec(`drop table patchbay_effect`)
	_, err := b.upsert(b.pg, mark(1, "A"), connector.Row{"Number": "A"})
	require.Equal(t, "connector.markers", fault.Of(err).Code)
	require.Contains(t, fault.Of(err).Text, "docs/postgres.md")
	_, err = b.pg.Applied(t.Context(), mark(1, "A"))
	require.Equal(t, "connector.markers", fault.Of(err).Code)
	require.Equal(t, "0", b.text(`select count(*) from "Acc".invoice`))
}

// A worker that was frozen while it wrote commits nothing further.
func TestAWriterThatMayNotSendAnyMoreCommitsNoFurtherChunk(t *testing.T) {
	t.Parallel()
	b := newBundle(t, func(c *connector.Config) { c.Options = map[string]string{"bulk": "2"} })
	asked := 0
	held := func() error {
		if asked++; asked == 1 {
			return nil
		}
		return fault.New(fault.Unavailable, "worker.frozen", "its worker stood still for a while", nil)
	}
	rows := []connector.Row{{"Number": "1"}, {"Number": "2"}, {"Number": "3"}, {"Number": "4"}, {"Number": "5"}, {"Number": "6"}}
	results, err := b.pg.Upsert(t.Context(), connector.Upsert{Table: "invoice", Key: []string{"Number"}, Rows: rows, Marks: mark(1, "1", "2", "3", "4", "5", "6"), Held: held})
	require.NoError(t, err)
	for i, code := range []string{"", "", "worker.frozen", "worker.frozen", "postgres.not_sent", "postgres.not_sent"} {
		got := ""
		if f := fault.Of(results[i].Err); f != nil {
			got = f.Code
		}
		require.Equal(t, code, got, "row %d", i)
	}
	require.Equal(t, "2", b.text(`select count(*) from "Acc".invoice`))
	require.Equal(t, "2", b.text(`select count(*) from patchbay_effect`), "a mark comes with its row or not at all")
}
