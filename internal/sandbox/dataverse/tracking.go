package dataverse

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"patchbay/internal/sandbox/exchange"
	"patchbay/internal/sandbox/ordered"
	"patchbay/internal/sandbox/storage"
)

// tokenLife is how long a delta token is good: ExpireChangeTrackingInDays.
const tokenLife = 7 * 24 * time.Hour

// tombstones remember what was deleted, for change tracking.
func tombstones(schema string) *storage.Table {
	return storage.NewTable(storage.Table{Schema: schema, Name: "tombstone", Counter: true,
		Columns: []storage.Column{{Name: "logical"}, {Name: "id", Kind: storage.GUID}, {Name: "version", Kind: storage.Int}},
		Primary: []string{"logical", "id"}})
}

// versions knows up to which version number nothing can come any more: numbers
// are drawn in one order and committed in another.
type versions struct {
	mu       sync.Mutex
	highest  int64 // drawn so far
	first    int64 // tokens from before are of rows that are no longer
	inFlight map[int64]int64
	next     int64
}

func newVersions(drawn int64) *versions {
	return &versions{highest: drawn, inFlight: map[int64]int64{}}
}

// begin announces a write; every number that it draws is above what it notes.
func (v *versions) begin() (done func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.next++
	write := v.next
	v.inFlight[write] = v.highest
	return func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		delete(v.inFlight, write)
	}
}

func (v *versions) drew(n int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.highest = max(v.highest, n)
}

// settled is the number up to which everything is committed or given up.
func (v *versions) settled() int64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.inFlight) == 0 {
		return v.highest
	}
	return slices.Min(slices.Collect(maps.Values(v.inFlight)))
}

// knows reports whether a token may hold this number.
func (v *versions) knows(n int64) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return n >= v.first && n <= v.highest
}

// draw takes n version numbers.
func (s *System) draw(ctx context.Context, tx storage.Tx, n int) ([]int64, error) {
	list, err := tx.Versions(ctx, s.env.counter, n)
	if err != nil {
		return nil, fmt.Errorf("numbering: %w", err)
	}
	if n > 0 {
		s.versions.drew(slices.Max(list))
	}
	return list, nil
}

// Restart tells that every table was filled anew, and the number drawn last.
func (s *System) Restart(drawn int64) {
	s.versions.mu.Lock()
	s.versions.highest, s.versions.first = drawn, drawn
	s.versions.mu.Unlock()
	s.hooks.forget()
}

// span is what one reading of change tracking covers: versions above from, up to
// to; after is the last one shown. A negative from is everything there is.
type span struct{ from, to, after int64 }

var trackingCookie = regexp.MustCompile(`pagingcookie="(-?\d+)\.(\d+)\.(\d+)" istracking="True"`)

// tracked reports whether a read is one of change tracking.
func tracked(r *request, values url.Values) bool {
	return r.prefer.track || values.Has("$deltatoken") || trackingCookie.MatchString(values.Get("$skiptoken"))
}

func (s *System) readSpan(r *request, values url.Values) (span, error) {
	expired := refuse(http.StatusBadRequest, "0x80044352", "Version stamp associated with the client has expired. Please perform a full sync.")
	if m := trackingCookie.FindStringSubmatch(values.Get("$skiptoken")); m != nil {
		var x span
		for i, into := range []*int64{&x.from, &x.to, &x.after} {
			*into, _ = strconv.ParseInt(m[i+1], 10, 64) // digits; too many make no row
		}
		if r.Expired || !s.versions.knows(x.to) {
			return span{}, expired
		}
		return x, nil
	}
	x := span{from: -1, to: s.versions.settled()}
	if !values.Has("$deltatoken") {
		return x, nil
	}
	number, stamp, _ := strings.Cut(values.Get("$deltatoken"), "!")
	var err error
	if x.from, err = strconv.ParseInt(number, 10, 64); err != nil {
		return span{}, badQuery("The delta token is not valid.")
	}
	at, err := time.Parse(tokenTime, stamp)
	if err != nil {
		return span{}, badQuery("The delta token is not valid.")
	}
	if r.Expired || !s.versions.knows(x.from) || r.At.Sub(at) > time.Duration(float64(tokenLife)/s.speed) {
		return span{}, expired
	}
	x.after = x.from
	return x, nil
}

const tokenTime = "01/02/2006 15:04:05"

// changes answers a read of change tracking: rows by version, then what was
// deleted, and at the end the link to what comes later.
func (s *System) changes(ctx context.Context, tx storage.Tx, r *request, t *Table, values url.Values) (exchange.Answer, error) {
	for _, name := range []string{"$filter", "$orderby", "$expand", "$top"} {
		if values.Has(name) {
			return exchange.Answer{}, badQuery("The \"%s\" query parameter isn't supported when Change Tracking is enabled.", name)
		}
	}
	if t.Untracked {
		return exchange.Answer{}, badQuery("Entity: %s is not enabled for change tracking.", t.Logical)
	}
	x, err := s.readSpan(r, values)
	if err != nil {
		return exchange.Answer{}, err
	}
	values.Del("$skiptoken")
	o, err := s.readOptions(t, values, r.At)
	if err != nil {
		return exchange.Answer{}, err
	}
	size := maxPage
	if r.prefer.pageSize > 0 {
		size = r.prefer.pageSize
	}
	rows, err := tx.Find(ctx, t.rows, storage.Query{Where: x.rows(), Order: []storage.Order{{Column: "versionnumber"}}, Limit: size + 1})
	if err != nil {
		return exchange.Answer{}, fmt.Errorf("reading changes: %w", err)
	}
	more := len(rows) > size
	rows = rows[:min(len(rows), size)]
	rd := s.renderer(tx, r)
	objects, err := rd.rows(ctx, t, rows, o)
	if err != nil {
		return exchange.Answer{}, err
	}
	suffix := ""
	if x.from >= 0 {
		suffix = "/$delta"
	}
	body := ordered.New("@odata.context", rd.contextOf(t, o, suffix))
	if more {
		last, _ := rows[len(rows)-1]["versionnumber"].(int64)
		cookie := fmt.Sprintf(`<cookie pagenumber="2" pagingcookie="%d.%d.%d" istracking="True" />`, x.from, x.to, last)
		return reply(http.StatusOK, body.Set("@odata.nextLink", r.linkWith("$skiptoken", url.PathEscape(cookie))).Set("value", objects)), nil
	}
	if objects, err = s.deleted(ctx, tx, r, t, x, objects); err != nil {
		return exchange.Answer{}, err
	}
	token := url.QueryEscape(fmt.Sprintf("%d!%s", x.to, r.At.Format(tokenTime)))
	return reply(http.StatusOK, body.Set("@odata.deltaLink", r.linkWith("$deltatoken", strings.ReplaceAll(token, "+", "%20"))).Set("value", objects)), nil
}

// rows are the rows that a span still has to show.
func (x span) rows() storage.Expr {
	above := storage.Compare{Column: "versionnumber", Op: storage.Gt, Value: max(x.after, x.from)}
	return storage.And{above, storage.Compare{Column: "versionnumber", Op: storage.Le, Value: x.to}}
}

// deleted adds what was deleted; a first reading has nothing to tell of it.
func (s *System) deleted(ctx context.Context, tx storage.Tx, r *request, t *Table, x span, objects []*ordered.Object) ([]*ordered.Object, error) {
	if x.from < 0 {
		return objects, nil
	}
	found, err := tx.Find(ctx, s.env.tombstones, storage.Query{Where: x.graves(t), Order: []storage.Order{{Column: "version"}}})
	if err != nil {
		return nil, fmt.Errorf("reading what was deleted: %w", err)
	}
	for _, row := range found {
		objects = append(objects, ordered.New("@odata.context", r.service+"/$metadata#"+t.Set+"/$deletedEntity", "id", row["id"], "reason", "deleted"))
	}
	return objects, nil
}

func (x span) graves(t *Table) storage.Expr {
	return storage.And{storage.Compare{Column: "logical", Op: storage.Eq, Value: t.Logical},
		storage.Compare{Column: "version", Op: storage.Gt, Value: x.from}, storage.Compare{Column: "version", Op: storage.Le, Value: x.to}}
}

// linkWith is the address of this read with a token in place of those it has.
func (r *request) linkWith(name, value string) string {
	pairs := []string{}
	for _, pair := range strings.Split(r.RawQuery, "&") {
		key, _, _ := strings.Cut(pair, "=")
		if key = strings.ReplaceAll(key, "%24", "$"); pair != "" && key != "$skiptoken" && key != "$deltatoken" {
			pairs = append(pairs, pair)
		}
	}
	return r.Base + r.RawPath + "?" + strings.Join(append(pairs, name+"="+value), "&")
}

// countChanges is the number of changes since a token.
func (s *System) countChanges(ctx context.Context, tx storage.Tx, r *request, t *Table, values url.Values) (int, error) {
	x, err := s.readSpan(r, values)
	if err != nil {
		return 0, err
	}
	n, err := tx.Count(ctx, t.rows, x.rows())
	if err != nil {
		return 0, fmt.Errorf("counting changes: %w", err)
	}
	gone, err := tx.Count(ctx, s.env.tombstones, x.graves(t))
	if err != nil {
		return 0, fmt.Errorf("counting deletions: %w", err)
	}
	return n + gone, nil
}

// bury remembers that a row was deleted.
func (s *System) bury(ctx context.Context, tx storage.Tx, t *Table, id any) error {
	version, err := s.draw(ctx, tx, 1)
	if err != nil {
		return err
	}
	if err := s.unearth(ctx, tx, t, id); err != nil {
		return err
	}
	if err := tx.Insert(ctx, s.env.tombstones, storage.Row{"logical": t.Logical, "id": id, "version": version[0]}); err != nil {
		return fmt.Errorf("remembering a deletion: %w", err)
	}
	return nil
}

// unearth forgets a deletion, because a row has the id again.
func (s *System) unearth(ctx context.Context, tx storage.Tx, t *Table, id any) error {
	_, err := tx.Delete(ctx, s.env.tombstones, s.env.tombstones.Key(storage.Row{"logical": t.Logical, "id": id}))
	if err != nil {
		return fmt.Errorf("forgetting a deletion: %w", err)
	}
	return nil
}
