package graph

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"patchbay/internal/sandbox/exchange"
	"patchbay/internal/sandbox/ordered"
	"patchbay/internal/sandbox/storage"
)

const (
	fragment    = 320 << 10
	maxFragment = 60 << 20
	sessionsFor = 24 * time.Hour
)

// begin makes an upload session.
func (r *request) begin(ctx context.Context, library storage.Row, a address) (exchange.Answer, error) {
	var said struct {
		Item struct {
			Behavior string `json:"@microsoft.graph.conflictBehavior"`
			Name     string `json:"name"`
			Size     int64  `json:"fileSize"`
		} `json:"item"`
	}
	if len(r.c.Body) > 0 && !r.body(&said) {
		return badRequest(r.c, "The body cannot be read."), nil
	}
	behavior, ok := behaviorOf(said.Item.Behavior, "fail")
	if !ok {
		return badRequest(r.c, "The conflict behavior is none of fail, replace and rename."), nil
	}
	if refusal := r.condition(a.item); refusal != nil {
		return *refusal, nil
	}
	parent, name, err := r.placeOf(ctx, a)
	if err != nil || parent == nil {
		return notFound(r.c), err
	}
	expires := r.c.At.Add(time.Duration(float64(sessionsFor) / r.speed))
	id := r.sealed([]any{"session", library["id"], name, r.c.At.UnixNano()})
	row := storage.Row{"id": id, "drive": library["id"], "parent": parent["id"], "name": name, "behavior": behavior, "match": r.c.Header.Get("If-Match"),
		"size": said.Item.Size, "received": int64(0), "sum": (&checksum{}).state(), "expires": expires.Truncate(1e6), "by": r.by()}
	if err := r.tx.Insert(ctx, sessions, row); err != nil {
		return exchange.Answer{}, fmt.Errorf("beginning an upload: %w", err)
	}
	return answer(http.StatusOK, ordered.New("uploadUrl", r.c.Base+uploads+id, "expirationDateTime", expires)), nil
}

func sessionGone(c *exchange.Call) exchange.Answer {
	return refuse(c, http.StatusNotFound, "itemNotFound", "uploadSessionNotFound", "The upload session was not found.")
}

// part serves the address of a session: a part of the file, what is missing, the end.
func (r *request) part(ctx context.Context, id string) (exchange.Answer, error) {
	session, err := byID(ctx, r.tx, sessions, id, r.writes())
	if err != nil {
		return exchange.Answer{}, err
	}
	expires, _ := session["expires"].(time.Time)
	if session == nil || r.c.At.After(expires) {
		return sessionGone(r.c), nil
	}
	switch {
	case r.c.Odd == forgets && r.writes():
		a, err := r.drop(ctx, session, true)
		if err == nil {
			a = sessionGone(r.c)
			a.Keep = true
		}
		return a, err
	case r.c.Method == http.MethodGet:
		return answer(http.StatusOK, r.missing(session)), nil
	case r.c.Method == http.MethodDelete:
		return r.drop(ctx, session, true)
	case r.c.Method == http.MethodPut:
		return r.take(ctx, session)
	}
	return refuse(r.c, http.StatusMethodNotAllowed, "notAllowed", "", "The action is not allowed."), nil
}

func (r *request) missing(session storage.Row) *ordered.Object {
	return ordered.New("expirationDateTime", session["expires"], "nextExpectedRanges", []string{fmt.Sprintf("%d-", intOf(session, "received"))})
}

func (r *request) drop(ctx context.Context, session storage.Row, content bool) (exchange.Answer, error) {
	if content {
		if err := chunks.Forget(ctx, r.tx, textOf(session, "id")); err != nil {
			return exchange.Answer{}, err
		}
	}
	if _, err := r.tx.Delete(ctx, sessions, sessions.Key(session)); err != nil {
		return exchange.Answer{}, fmt.Errorf("ending an upload: %w", err)
	}
	return exchange.Answer{Status: http.StatusNoContent}, nil
}

// take takes one part, and makes the file of the last.
func (r *request) take(ctx context.Context, session storage.Row) (exchange.Answer, error) {
	var from, to, size int64
	received, announced := intOf(session, "received"), intOf(session, "size")
	_, err := fmt.Sscanf(r.c.Header.Get("Content-Range"), "bytes %d-%d/%d", &from, &to, &size)
	n := int64(len(r.c.Body))
	last := to+1 == size
	switch {
	case err != nil || to < from || to >= size:
		return badRequest(r.c, "The Content-Range header is missing or malformed."), nil
	case to-from+1 != n:
		return refuse(r.c, http.StatusRequestedRangeNotSatisfiable, "invalidRange", "fragmentLengthMismatch", "The fragment has another length than its range."), nil
	case announced != 0 && size != announced:
		return badRequest(r.c, "The total size differs from the one that was announced."), nil
	case n >= maxFragment, !last && n%fragment != 0:
		return badRequest(r.c, "A fragment is a multiple of 320 KiB and below 60 MiB."), nil
	case from < received:
		return refuse(r.c, http.StatusRequestedRangeNotSatisfiable, "invalidRange", "fragmentOverlap", "The fragment was received already."), nil
	case from > received:
		return refuse(r.c, http.StatusRequestedRangeNotSatisfiable, "invalidRange", "fragmentOutOfOrder", "Fragments come in order."), nil
	}
	sum := restored(session["sum"].([]byte))
	_, _ = sum.Write(r.c.Body)
	if err := chunks.Keep(ctx, r.tx, textOf(session, "id"), from, r.c.Body); err != nil {
		return exchange.Answer{}, err
	}
	session = storage.Row{"id": session["id"], "drive": session["drive"], "parent": session["parent"], "name": session["name"], "behavior": session["behavior"],
		"match": session["match"], "expires": session["expires"], "size": size, "received": to + 1, "sum": sum.state(), "by": session["by"]}
	if !last {
		if err := r.tx.Update(ctx, sessions, session); err != nil {
			return exchange.Answer{}, fmt.Errorf("noting a part: %w", err)
		}
		return answer(http.StatusAccepted, r.missing(session)), nil
	}
	return r.commit(ctx, session, size, sum.text())
}

// commit makes the file of a session whose parts are all there.
func (r *request) commit(ctx context.Context, session storage.Row, size int64, hash string) (exchange.Answer, error) {
	library, err := byID(ctx, r.tx, drives, textOf(session, "drive"), true)
	if err != nil {
		return exchange.Answer{}, err
	}
	parent, err := byID(ctx, r.tx, items, textOf(session, "parent"), false)
	if err != nil {
		return exchange.Answer{}, err
	}
	if library == nil || parent == nil || parent["deleted"] == true {
		return notFound(r.c), nil
	}
	name := textOf(session, "name")
	existing, err := r.childOf(ctx, parent, name)
	if err != nil {
		return exchange.Answer{}, err
	}
	if match := textOf(session, "match"); match != "" && (existing == nil || !fits(existing, match)) {
		return refuse(r.c, http.StatusPreconditionFailed, "resourceModified", "entityTagDoesNotMatch", "ETag does not match current item's value"), nil
	}
	if _, err := r.drop(ctx, session, false); err != nil {
		return exchange.Answer{}, err
	}
	a, err := r.settle(ctx, library, parent, existing, name, textOf(session, "behavior"),
		incoming{blob: textOf(session, "id"), size: size, hash: hash, mime: mimeOf("", strings.ToLower(name))})
	return a, err
}
