package graph

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"patchbay/internal/sandbox/exchange"
	"patchbay/internal/sandbox/ordered"
	"patchbay/internal/sandbox/storage"
)

// tokensFor is how long a place in the changes is known.
const tokensFor = 30 * 24 * time.Hour

// place is where a reader of changes is: behind After, and where a round is under way,
// on the way to Upto.
type place struct {
	Drive       string
	After, Upto int64
	First       bool // nothing was read before: what is gone need not be told
	At          int64
	Select      string
	Top         int
}

// deltaOf recognises root/delta, root/delta(token='…') and root/delta?token=….
func deltaOf(path string) (token string, ok bool) {
	rest, ok := strings.CutPrefix(path, "root/delta")
	if rest == "" {
		return "", ok
	}
	inner, isFunction := strings.CutPrefix(rest, "(token='")
	token, ends := strings.CutSuffix(inner, "')")
	if !ok || !isFunction || !ends {
		return "", false
	}
	token, err := url.PathUnescape(token)
	return token, err == nil
}

// delta is what changed in a library.
func (r *request) delta(ctx context.Context, library storage.Row, token string) (exchange.Answer, error) {
	drive := textOf(library, "id")
	if token == "" {
		token = r.query.Get("token")
	}
	p := place{Drive: drive, First: true, At: r.c.At.Unix(), Select: r.query.Get("$select")}
	p.Top, _ = strconv.Atoi(r.query.Get("$top"))
	if p.Top < 1 || p.Top > 1000 {
		p.Top = 200
	}
	seq := intOf(library, "seq")
	switch {
	case token == "":
	case r.c.Expired:
		return r.gone(drive), nil
	case token == "latest":
		p.First, p.After, p.Upto = false, seq, seq
	case r.unseal(token, &p) && p.Drive == drive:
		if r.c.At.Sub(time.Unix(p.At, 0)) > time.Duration(float64(tokensFor)/r.speed) {
			return r.gone(drive), nil
		}
	default:
		since, err := time.Parse(time.RFC3339, token)
		if err != nil {
			return refuse(r.c, http.StatusBadRequest, "invalidRequest", "invalidParameterFormat", "The token is none."), nil
		}
		row, err := storage.First(ctx, r.tx, items, storage.And{storage.Compare{Column: "drive", Op: storage.Eq, Value: drive}, storage.Compare{Column: "modified", Op: storage.Lt, Value: since}}, false)
		if err != nil {
			return exchange.Answer{}, fmt.Errorf("reading changes: %w", err)
		}
		p.First, p.After = false, intOf(row, "changed")
	}
	if p.Upto == 0 {
		p.Upto = seq
	}
	rows, err := r.tx.Find(ctx, items, storage.Query{Limit: p.Top + 1, Order: []storage.Order{{Column: "changed"}}, Where: storage.And{
		storage.Compare{Column: "drive", Op: storage.Eq, Value: drive}, storage.Compare{Column: "changed", Op: storage.Gt, Value: p.After},
		storage.Compare{Column: "changed", Op: storage.Le, Value: p.Upto}}})
	if err != nil {
		return exchange.Answer{}, fmt.Errorf("reading changes: %w", err)
	}
	more := len(rows) > p.Top
	rows = rows[:min(p.Top, len(rows))]
	list, err := r.changed(ctx, rows, p)
	if err != nil {
		return exchange.Answer{}, err
	}
	body := ordered.New("@odata.context", r.c.Base+api+"$metadata#Collection(driveItem)", "value", list)
	link := r.c.Base + api + "drives/" + url.PathEscape(drive) + "/root/delta(token='"
	if more {
		p.After, p.At = intOf(rows[len(rows)-1], "changed"), r.c.At.Unix()
		return answer(http.StatusOK, body.Set("@odata.nextLink", link+r.sealed(p)+"')")), nil
	}
	p.After, p.Upto, p.First, p.At = p.Upto, 0, false, r.c.At.Unix()
	return answer(http.StatusOK, body.Set("@odata.deltaLink", link+r.sealed(p)+"')")), nil
}

// changed are the entries of a page: the items, and the folders that they lie in.
func (r *request) changed(ctx context.Context, rows []storage.Row, p place) ([]*ordered.Object, error) {
	r.query.Set("$select", p.Select)
	there := map[string]bool{}
	for _, row := range rows {
		there[textOf(row, "id")] = true
	}
	list := []*ordered.Object{}
	for _, row := range rows {
		if row["deleted"] == true {
			if !p.First {
				list = append(list, ordered.New("id", row["id"], "deleted", ordered.New("state", "deleted"), "parentReference", ordered.New("driveId", row["drive"])))
			}
			continue
		}
		if parent := textOf(row, "parent"); parent != "" && !there[parent] {
			there[parent] = true
			folder, err := byID(ctx, r.tx, items, parent, false)
			if err != nil {
				return nil, err
			}
			if folder != nil {
				o, err := r.render(ctx, folder, false)
				if err != nil {
					return nil, err
				}
				list = append(list, r.chosen(o))
			}
		}
		o, err := r.render(ctx, row, false)
		if err != nil {
			return nil, err
		}
		list = append(list, r.chosen(o))
	}
	return list, nil
}

// gone says that a place is no longer known, in either of the two forms in turn.
func (r *request) gone(drive string) exchange.Answer {
	inner := "resyncApplyDifferences"
	if r.c.At.UnixNano()/1000%2 == 1 {
		inner = "resyncChangesUploadDifferences"
	}
	a := refuse(r.c, http.StatusGone, "resyncRequired", inner, "Resync required. Replace any local items with the server's version.")
	a.Header.Set("Location", r.c.Base+api+"drives/"+url.PathEscape(drive)+"/root/delta")
	return a
}
