package residency

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/types/known/durationpb"

	"patchbay/internal/devenv/testenv"
	"patchbay/internal/store/storetest"
)

// names gives the names of the sources where values were found.
func names(r Report) (out []string) {
	for _, src := range r.Sources {
		if src.Hits > 0 {
			out = append(out, src.Name)
		}
	}
	return out
}

// soon repeats until it does not fail.
func soon(t *testing.T, try func() error) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		err := try()
		if err == nil {
			return
		}
		require.True(t, time.Now().Before(deadline), "%v", err)
		select {
		case <-t.Context().Done():
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func TestAFileIsScannedAndSoIsItsName(t *testing.T) {
	t.Parallel()
	set := New(2)
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "a", "b"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a", "b", "log"), []byte("row: "+set.Text(0)), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, set.Token(1)+".dump"), nil, 0o600))
	scanner := set.Scanner()
	require.NoError(t, scanner.Dir(dir))
	require.Equal(t, 2, scanner.Report().Found(), "%s", scanner.Report())
	require.NotContains(t, fmt.Sprintf("%+v", scanner.Report()), set.prefix)

	require.Error(t, scanner.Dir(filepath.Join(dir, "a", "b", "log", "nowhere")), "what is not there was not scanned")
}

func TestPostgreSQLIsScannedByItsFilesAndByItsTables(t *testing.T) {
	t.Parallel()
	set := New(9)
	url := storetest.Empty(t)
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer func() { _ = conn.Close(t.Context()) }()
	exec := func(sql string, args ...any) {
		t.Helper()
		_, err := conn.Exec(t.Context(), sql, args...)
		require.NoError(t, err)
	}
	text := func(query string, args ...any) (out string) {
		t.Helper()
		require.NoError(t, conn.QueryRow(t.Context(), query, args...).Scan(&out))
		return out
	}
	// Other tests' checkpoints let go of segments that nobody holds.
	slot := "residency_" + strings.ToLower(set.prefix[:6])
	exec(`select pg_create_physical_replication_slot($1, true)`, slot)
	defer exec(`select pg_drop_replication_slot($1)`, slot)
	began := text(`select pg_current_wal_insert_lsn()::text`)
	exec(`create table kept (n int, t text, j jsonb, b bytea)`)
	around := func(i, size int) string {
		var out strings.Builder
		for n := 0; out.Len() < size; n++ {
			fmt.Fprintf(&out, "%d: the quick brown fox jumps over %d lazy dogs; ", n, n*n)
			if n == 7 {
				out.WriteString(set.Text(i))
			}
		}
		return out.String()
	}
	exec(`insert into kept (n, t) values (0, $1)`, set.Text(0))
	exec(`insert into kept (n, j) values (1, jsonb_build_object('key', $1::text))`, set.Text(1))
	exec(`insert into kept (n, b) values (2, $1)`, encoders["gzip"]([]byte(set.Text(2))))
	exec(`insert into kept (n, t) values (3, $1)`, around(3, 4000))   // compressed in the row
	exec(`insert into kept (n, t) values (4, $1)`, around(4, 60_000)) // compressed, in chunks
	exec(`insert into kept (n, t) values (5, $1)`, set.Text(5))
	exec(`delete from kept where n = 5`) // is there until a vacuum
	exec(`alter table kept alter t set storage external`)
	exec(`insert into kept (n, t) values (6, repeat('x', $2) || $1)`, set.Text(6), 1996-5-prefixLen-8) // a border in the token
	exec(`alter table kept alter t set storage main`)
	if _, err := conn.Exec(t.Context(), `alter table kept alter t set compression lz4`); err == nil { // where it was built with it
		exec(`insert into kept (n, t) values (7, $1)`, around(7, 9000))
	} else {
		exec(`insert into kept (n, t) values (7, $1)`, around(7, 9000))
	}
	exec(`checkpoint`)

	tables := set.Scanner()
	require.NoError(t, tables.Database(t.Context(), "one", url))
	require.Equal(t, 7, tables.Report().Found(), "all but the deleted: %s", tables.Report())
	require.False(t, tables.Report().Has(5))

	data := text(`show data_directory`)
	files := set.Scanner()
	require.NoError(t, files.Dir(filepath.Join(data, "base", text(`select oid::text from pg_database where datname = current_database()`))))
	for i := range 8 {
		require.True(t, files.Report().Has(i), "%s in the pages: %s", Label(i), files.Report())
	}

	log := set.Scanner()
	var segments []string
	rows, err := conn.Query(t.Context(), `select name from pg_ls_waldir() where name between pg_walfile_name($1::pg_lsn) and pg_walfile_name(pg_current_wal_lsn()) order by name`, began)
	require.NoError(t, err)
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	for _, name := range found {
		segments = append(segments, filepath.Join(data, "pg_wal", name))
	}
	require.NoError(t, log.writeAhead(segments))
	for i := range 8 {
		require.True(t, log.Report().Has(i), "%s in the write-ahead log: %s", Label(i), log.Report())
	}
	require.False(t, log.Report().Has(8), "that one is nowhere")

	// Databases of one server share its log.
	var database uint32
	require.NoError(t, conn.QueryRow(t.Context(), `select oid from pg_database where datname = current_database()`).Scan(&database))
	ours, others := set.Scanner(), set.Scanner()
	require.NoError(t, ours.WriteAhead(data, database))
	for i := range 8 {
		require.True(t, ours.Report().Has(i), "%s in the records of the database: %s", Label(i), ours.Report())
	}
	neighbour, err := pgx.Connect(t.Context(), storetest.Empty(t))
	require.NoError(t, err)
	defer func() { _ = neighbour.Close(t.Context()) }()
	_, err = neighbour.Exec(t.Context(), `create table other (t text)`)
	require.NoError(t, err)
	var another uint32
	require.NoError(t, neighbour.QueryRow(t.Context(), `select oid from pg_database where datname = current_database()`).Scan(&another))
	require.NoError(t, others.WriteAhead(data, another))
	require.Zero(t, others.Report().Total(), "%s", others.Report())
	require.Error(t, others.WriteAhead(data, 999_999_999))
}

func TestTemporalIsScannedByWhatItTells(t *testing.T) {
	t.Parallel()
	set := New(5)
	address, _ := testenv.Temporal(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	namespace := "residency-" + strings.ToLower(set.prefix[:6])
	admin, err := client.NewNamespaceClient(client.Options{HostPort: address})
	require.NoError(t, err)
	defer admin.Close()
	require.NoError(t, admin.Register(ctx, &workflowservice.RegisterNamespaceRequest{Namespace: namespace, WorkflowExecutionRetentionPeriod: durationpb.New(24 * time.Hour)}))
	c, err := client.DialContext(ctx, client.Options{HostPort: address, Namespace: namespace})
	require.NoError(t, err)
	defer c.Close()
	start := func(id string, memo map[string]any, args ...any) {
		t.Helper()
		soon(t, func() error { // a namespace is known a little after it was made
			_, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: id, TaskQueue: namespace, Memo: memo}, "nobody's", args...)
			return err
		})
	}
	start("in the id "+set.Token(0), nil)
	start("memo", map[string]any{"note": set.Text(1)})
	start("input", nil, map[string]any{"rows": []string{set.Text(2)}}, encoders["gzip"]([]byte(set.Text(3))))
	require.NoError(t, c.SignalWorkflow(ctx, "input", "", "note", []byte(set.Text(4))))
	soon(t, func() error { // visibility follows
		scanner := set.Scanner()
		if err := scanner.Temporal(ctx, "one", c, namespace); err != nil {
			return err
		}
		if r := scanner.Report(); r.Found() < set.Len() || !slices.Contains(names(r), "one, visibility") {
			return fmt.Errorf("found no more than:\n%s", r)
		}
		return nil
	})
}

func TestTheMemoryOfAProcessIsScanned(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Log("memory of processes is read on Linux only")
		return
	}
	set := New(3)
	kept := []byte(set.Text(2))
	scanner := set.Scanner()
	require.NoError(t, scanner.Process(os.Getpid()))
	require.Equal(t, 3, scanner.Report().Found(), "a set holds its values itself")
	runtime.KeepAlive(kept)

	require.Error(t, scanner.Process(1<<30), "a process that is not there was not scanned")
}

func TestALineKeepsWhatGoesOverItAndAnAnswerIsScanned(t *testing.T) {
	t.Parallel()
	set := New(3)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		_, _ = w.Write(append([]byte(set.Text(1)), b...))
	}))
	t.Cleanup(server.Close)
	line, err := Record(t.Context(), strings.TrimPrefix(server.URL, "http://"), t.TempDir())
	require.NoError(t, err)
	answer, err := http.Post("http://"+line.Address(), "text/plain", bytes.NewReader(encoders["gzip"]([]byte(set.Text(0)))))
	require.NoError(t, err)
	b, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.Contains(t, string(b), set.Text(1))
	require.NoError(t, answer.Body.Close())
	require.NoError(t, line.Close())
	scanner := set.Scanner()
	require.NoError(t, scanner.Wire(line))
	require.Equal(t, 2, scanner.Report().Found(), "%s", scanner.Report())

	_, err = net.Dial("tcp", line.Address())
	require.Error(t, err, "it has ended")

	metrics := set.Scanner()
	require.NoError(t, metrics.HTTP(t.Context(), server.URL))
	require.True(t, metrics.Report().Has(1))
	require.Error(t, metrics.HTTP(t.Context(), "http://"+line.Address()))
}
