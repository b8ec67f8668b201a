package postgres_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// wire stands between the connector and the database and keeps every byte.
type wire struct {
	mu   sync.Mutex
	said bytes.Buffer
}

func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.said.Write(p)
}

func (w *wire) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.said.String()
}

func newWire(t *testing.T, server string) (*wire, string) {
	t.Helper()
	w := &wire{}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var all sync.WaitGroup
	var conns []net.Conn
	all.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", server)
			if err != nil {
				_ = client.Close()
				continue
			}
			w.mu.Lock()
			conns = append(conns, client, to)
			w.mu.Unlock()
			for _, pair := range [][2]net.Conn{{client, to}, {to, client}} {
				all.Go(func() {
					_, _ = io.Copy(pair[1], io.TeeReader(pair[0], w))
					_, _ = pair[0].Close(), pair[1].Close()
				})
			}
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		w.mu.Lock()
		for _, c := range conns {
			_ = c.Close()
		}
		w.mu.Unlock()
		all.Wait()
	})
	return w, listener.Addr().String()
}

const planted = "GEHEIM"

func TestOfTwoHundredAltersNoneLetsARestrictedValueOut(t *testing.T) {
	t.Parallel()
	f := newFollowed(t, func(c *connector.Config) {
		c.Tables["patient"] = connector.Table{Path: "patient", Keys: [][]string{{"no"}}}
		c.Speed = 10
	})
	u, err := url.Parse(f.owner)
	require.NoError(t, err)
	w, address := newWire(t, u.Host)
	resolve, direct := f.resolve, f.pg
	defer func() { f.close(); f.pg = direct }()
	f.pg = f.build(func(text string) (string, error) {
		value, err := resolve(text)
		return strings.Replace(value, u.Host, address, 1), err
	})
	f.exec(`create table patient (no text primary key, name text, city text, age text, diagnosis text, blood text);
		insert into patient values ('A', 'n', 'c', '1', '` + planted + `', '` + planted + `')`)
	ids := map[string]string{}
	list, err := f.pg.Identities(t.Context(), "patient")
	require.NoError(t, err)
	for _, i := range list {
		ids[i.Column] = i.ID
	}
	allowed := []string{"name", "city", "age"} // numbers 2, 3 and 4
	f.feed.Tables = []connector.FeedTable{{Table: "patient", Key: []string{"no"}, Columns: allowed, IDs: ids}}
	f.tail("")

	r := rand.New(rand.NewPCG(7, 11))
	names := func() (all []string, by map[int]string) { // of all columns but the key, and by number
		by = map[int]string{}
		rows, err := f.sql.Query(t.Context(), `select attnum::int, attname::text from pg_attribute where attrelid = 'patient'::regclass and attnum > 1 and not attisdropped order by 1`)
		require.NoError(t, err)
		for rows.Next() {
			var n int
			var name string
			require.NoError(t, rows.Scan(&n, &name))
			all, by[n] = append(all, name), name
		}
		require.NoError(t, rows.Err())
		return all, by
	}
	position, done, refused, arrived, absent := "", 0, 0, map[string]int{}, 0
	for n := 0; done < 200; n++ {
		all, by := names()
		pick := func() string { return all[r.IntN(len(all))] }
		var sql string
		switch r.IntN(9) {
		case 0:
			sql = fmt.Sprintf(`alter table patient add x%d text default '%s'`, n, planted)
		case 1:
			if extra := pick(); strings.HasPrefix(extra, "x") {
				sql = `alter table patient drop ` + extra
			}
		case 2: // two columns exchange their names
			if a, b := pick(), pick(); a != b {
				sql = fmt.Sprintf(`begin; alter table patient rename %[1]s to tmp; alter table patient rename %[2]s to %[1]s; alter table patient rename tmp to %[2]s; commit`, a, b)
			}
		case 3: // one gets another name
			sql = fmt.Sprintf(`alter table patient rename %s to y%d`, pick(), n)
		case 4, 5: // one takes a name that is allowed and free, or gets its own back
			want := 2 + r.IntN(3)
			own := allowed[want-2]
			if a := pick(); !contains(all, own) {
				if r.IntN(2) == 0 {
					a = by[want]
				}
				sql = fmt.Sprintf(`alter table patient rename %s to %s`, a, own)
			}
		case 6:
			sql = fmt.Sprintf(`alter table patient alter %s type varchar(200)`, pick())
		case 7:
			sql = fmt.Sprintf(`alter table patient alter %s set default '%s'`, pick(), planted)
		case 8: // all as it was
			for i, own := range allowed {
				if now := by[i+2]; now != own && !contains(all, own) {
					sql += fmt.Sprintf(`alter table patient rename %s to %s;`, now, own)
				}
			}
		}
		if sql == "" {
			continue
		}
		if _, err := f.sql.Exec(t.Context(), sql); err != nil {
			refused++
			_, _ = f.sql.Exec(t.Context(), `rollback`)
			continue
		}
		done++
		// Every column gets another value: allowed ones one that may be told.
		_, by = names()
		var sets []string
		for number, name := range by {
			value := fmt.Sprintf("%s-%d", planted, n)
			if number <= 4 {
				value = fmt.Sprintf("ok-%d", n)
			}
			sets = append(sets, fmt.Sprintf("%s = '%s'", name, value))
		}
		f.exec(`update patient set ` + strings.Join(sets, ", "))
		if r.IntN(10) == 0 { // another process goes on
			f.tail(position)
		}
		var got []connector.Tail
		got, position = f.changes(1)
		for i, column := range allowed {
			value, there := got[0].Row[column]
			if by[i+2] != column {
				absent++
				require.False(t, there, "another column has its name, or none: %v", got[0])
				continue
			}
			if there { // after another process went on without it, it comes back with the next
				require.Equal(t, fmt.Sprintf("ok-%d", n), value)
				arrived[column]++
			} else {
				f.tail(position)
			}
		}
		chunk, err := f.pg.ReadChunk(t.Context(), f.feed.Tables[0], nil, 10)
		require.NoError(t, err)
		rows, err := f.pg.ReadFeed(t.Context(), f.feed.Tables[0], []connector.Row{{"no": "A"}})
		require.NoError(t, err)
		require.NotContains(t, fmt.Sprint(got, chunk, rows), planted)
		for i, column := range allowed {
			if by[i+2] == column {
				require.Equal(t, fmt.Sprintf("ok-%d", n), chunk.Rows[0][column])
				require.Equal(t, fmt.Sprintf("ok-%d", n), rows[0].Row[column])
			}
		}
	}
	for _, column := range allowed {
		require.Greater(t, arrived[column], 4, "allowed columns keep flowing: %v, %d refused by the database", arrived, refused)
	}
	require.Greater(t, absent, 50)
	said := w.String()
	require.Contains(t, said, "ok-", "the wire was recorded")
	require.NotContains(t, said, planted)
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

func TestAStreamSurvivesWhatBreaksItAndNothingIsLost(t *testing.T) {
	t.Parallel()
	f := newFollowed(t)
	f.feed.Tables = f.feed.Tables[1:]
	f.tail("")
	stop, ended := make(chan struct{}), make(chan int, 1)
	go func() {
		conn, n := f.connect(), 0
		defer func() { ended <- n }()
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := conn.Exec(t.Context(), fmt.Sprintf(`insert into pet values (%d, null, 'cat')`, n)); err != nil {
				return
			}
			n++
		}
	}()
	seen, ids := map[string]string{}, map[string]string{}
	position, breaks := "", 0
	take := func(wait time.Duration) bool {
		got, err := f.stream.Next(t.Context(), 50, wait)
		if err != nil {
			for err != nil { // what was killed may have been the new one too
				require.Equal(t, fault.Unavailable, fault.Of(err).Class)
				f.close()
				f.stream, err = f.pg.Tail(t.Context(), f.feed, position)
			}
			return true
		}
		for _, c := range got.Changes {
			no := fmt.Sprint(c.Row["no"])
			if id, again := seen[no]; again {
				require.Equal(t, id, c.ID, "a repeat has its ID")
			}
			owner, taken := ids[c.ID]
			require.True(t, !taken || owner == no, "an ID is of one change")
			seen[no], ids[c.ID] = c.ID, no
		}
		if breaks%3 != 2 { // else it dies between taking and keeping
			position = got.Position
			if err := f.stream.Confirm(t.Context(), position); err != nil { // it was killed; the next read tells
				require.Equal(t, fault.Unavailable, fault.Of(err).Class)
			}
		}
		return len(got.Changes) > 0
	}
	for breaks < 8 {
		for range 5 {
			take(20 * time.Millisecond)
		}
		f.exec(`select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'patchbay'`)
		breaks++
	}
	close(stop)
	n := <-ended
	breaks = 0
	for take(time.Second) {
	}
	require.Len(t, seen, n)
}
