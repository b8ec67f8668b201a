package maersk

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"patchbay/internal/sandbox/record"
	"patchbay/internal/sandbox/storage"
)

// A delivery that fails comes again after firstAgain, then twice as late each time.
const (
	firstAgain = time.Minute
	lastAgain  = 24 * time.Hour
)

// send sends one bundle for each subscription that has something due.
func (r *Runner) send(ctx context.Context) (some bool, err error) {
	now := time.Now().UTC().Truncate(time.Microsecond)
	var jobs []storage.Row
	var to []storage.Row
	err = r.Store.Read(ctx, func(tx storage.Tx) (err error) {
		if jobs, err = tx.Find(ctx, deliveries, storage.Query{Where: due(now), Limit: 10 * mostBundled}); err != nil || len(jobs) == 0 {
			return err
		}
		to, err = tx.Find(ctx, subscriptions, storage.Query{})
		return err
	})
	if err != nil {
		return false, fmt.Errorf("looking for deliveries that are due: %w", err)
	}
	for len(jobs) > 0 {
		id := jobs[0]["subscription"]
		var bundle []storage.Row
		at := slices.IndexFunc(to, func(s storage.Row) bool { return s["id"] == id })
		most := 1
		if at >= 0 && to[at]["kind"] == "events" {
			most = max(1, int(numberOf(to[at], "bundle")))
		}
		jobs = slices.DeleteFunc(jobs, func(j storage.Row) bool {
			take := j["subscription"] == id && len(bundle) < most
			if take {
				bundle = append(bundle, j)
			}
			return take
		})
		if at < 0 { // it was ended
			err = r.forget(ctx, bundle, nil)
		} else {
			err = r.carry(ctx, to[at], bundle)
		}
		if err != nil || ctx.Err() != nil {
			return false, err
		}
		some = true
	}
	return some, nil
}

// carry sends one bundle and keeps what came of it.
func (r *Runner) carry(ctx context.Context, s storage.Row, bundle []storage.Row) error {
	strike := r.Faults.Webhook(Name)
	if strike.Drop {
		return r.forget(ctx, bundle, []*record.Entry{entry(s, nil, 0, "drop")})
	}
	if strike.Delay > 0 { // what is behind it goes first
		slices.Reverse(bundle)
	}
	body := bodyOf(s, bundle)
	var entries []*record.Entry
	status, after := 0, time.Duration(0)
	for n := range max(strike.Copies, 1) {
		fault := ""
		switch {
		case strike.BadSignature:
			fault = "signature"
		case n > 0:
			fault = "duplicate"
		case strike.Delay > 0:
			fault = "reorder"
		}
		status, after = r.post(ctx, s, body, strike.BadSignature)
		entries = append(entries, entry(s, body, status, fault))
	}
	if ctx.Err() != nil {
		return nil // it is sent anew after a start
	}
	if status >= 200 && status < 300 || strike.BadSignature {
		return r.forget(ctx, bundle, entries)
	}
	return r.again(ctx, s, bundle, entries, status, after)
}

// bodyOf is an array of events, or one notification.
func bodyOf(s storage.Row, bundle []storage.Row) []byte {
	all := make([]string, len(bundle))
	for i, j := range bundle {
		all[i] = textOf(j, "body")
	}
	if s["kind"] == "booking" {
		return []byte(strings.Replace(all[0], "<subscription>", textOf(s, "id"), 1))
	}
	return []byte("[" + strings.Join(all, ",") + "]")
}

func (r *Runner) post(ctx context.Context, s storage.Row, body []byte, badly bool) (status int, after time.Duration) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, textOf(s, "url"), bytes.NewReader(body))
	if err != nil {
		return 0, 0
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("API-Version", "2.2.0")
	req.Header.Set("Subscription-ID", textOf(s, "id"))
	key, _ := base64.StdEncoding.DecodeString(textOf(s, "secret")) // it was checked
	m := hmac.New(sha256.New, key)
	m.Write(body)
	if badly {
		m.Write([]byte("."))
	}
	req.Header.Set("Notification-Signature", "sha256="+hex.EncodeToString(m.Sum(nil)))
	res, err := r.client.Do(req)
	if err != nil {
		return 0, 0
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10)) // only the status counts
	if seconds, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil {
		after = time.Duration(seconds) * time.Second
	}
	return res.StatusCode, after
}

// entry is one attempt in the record; its path is where it went, without the query.
func entry(s storage.Row, body []byte, status int, fault string) *record.Entry {
	path := ""
	if to, err := url.Parse(textOf(s, "url")); err == nil {
		path = to.Scheme + "://" + to.Host + to.Path
	}
	return &record.Entry{System: Name, At: time.Now().UTC(), Method: "WEBHOOK", Path: path, Query: textOf(s, "kind"), Status: status, BodySHA256: record.Digest(body), Fault: fault}
}

// forget removes deliveries that are done.
func (r *Runner) forget(ctx context.Context, bundle []storage.Row, entries []*record.Entry) error {
	return r.settle(ctx, entries, func(ctx context.Context, tx storage.Tx) error {
		for _, j := range bundle {
			if _, err := tx.Delete(ctx, deliveries, is("n", j["n"])); err != nil {
				return fmt.Errorf("forgetting a delivery: %w", err)
			}
		}
		return nil
	})
}

// again has deliveries come later; a bundle that is too large is halved from now on.
func (r *Runner) again(ctx context.Context, s storage.Row, bundle []storage.Row, entries []*record.Entry, status int, after time.Duration) error {
	return r.settle(ctx, entries, func(ctx context.Context, tx storage.Tx) error {
		halved := status == http.StatusRequestEntityTooLarge && len(bundle) > 1
		if halved {
			if err := tx.Update(ctx, subscriptions, storage.Row{"id": s["id"], "bundle": int64((len(bundle) + 1) / 2)}); err != nil {
				return fmt.Errorf("halving a bundle: %w", err)
			}
		}
		for _, j := range bundle {
			tries := numberOf(j, "tries")
			wait := min(firstAgain<<min(tries, 20), lastAgain)
			asked := status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable || status == http.StatusRequestEntityTooLarge
			if asked && after > 0 {
				wait = after
			}
			if halved {
				wait = 0
			}
			if err := tx.Update(ctx, deliveries, storage.Row{"n": j["n"], "tries": tries + 1, "due_at": r.System.after(time.Now(), wait)}); err != nil {
				return fmt.Errorf("putting a delivery off: %w", err)
			}
		}
		return nil
	})
}

// settle records attempts in the transaction of what came of them.
func (r *Runner) settle(ctx context.Context, entries []*record.Entry, apply func(context.Context, storage.Tx) error) error {
	ctx = context.WithoutCancel(ctx)
	if r.Book != nil {
		for _, e := range entries {
			r.Book.Number(e)
			defer r.Book.Done(e)
		}
	}
	return r.Store.Write(ctx, func(tx storage.Tx) error {
		if err := apply(ctx, tx); err != nil || r.Book == nil {
			return err
		}
		for _, e := range entries {
			if err := r.Book.Write(ctx, tx, e); err != nil {
				return fmt.Errorf("recording a delivery: %w", err)
			}
		}
		return nil
	})
}
