package graph

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

const (
	// setbacks is how often in a row an upload goes on after a failure, or after a part that
	// Graph expects again, without getting further than before, sessions how many are begun for one file.
	setbacks = 4
	sessions = 3
	// longestPause is what an upload waits for when it is told to come again; whatever
	// takes longer ends it, and its sender begins again.
	longestPause = time.Minute
)

// session is an upload in parts. Its address is as good as a key.
type session struct {
	u       *upload
	address string
	content io.ReadCloser
	reached int64 // of content
	buffer  []byte
}

// bySession sends a file in parts. A session that dies is begun again.
func (u *upload) bySession(ctx context.Context) (map[string]any, error) {
	buffer := make([]byte, min(int64(u.g.part), u.w.Content.Size))
	var err error
	for range sessions {
		s := &session{u: u, buffer: buffer}
		var item map[string]any
		if item, err = s.run(ctx); err == nil {
			return item, nil
		}
		if fault.Of(err).Code != sessionGone {
			return nil, err
		}
	}
	return nil, fault.New(fault.Unavailable, sessionGone, u.g.config.Name+" forgot the upload again and again before its end", err)
}

const sessionGone = System + ".session_gone"

func (s *session) run(ctx context.Context) (map[string]any, error) {
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	defer s.drop()
	at, most, failures := int64(0), int64(0), 0
	for {
		item, next, err := s.send(ctx, at)
		if err == nil && item == nil && next <= at {
			err = fault.New(fault.Unavailable, System+".no_progress", s.u.g.config.Name+" takes parts of the upload and expects them again", nil)
		}
		switch f := fault.Of(err); {
		case err == nil && item != nil:
			return item, nil
		case err == nil:
			if at = next; at > most {
				most, failures = at, 0
			}
			continue
		case f.Code == sessionGone || f.Class == fault.NotFound:
			return nil, fault.New(fault.NotFound, sessionGone, f.Text, err)
		case failures >= setbacks || ctx.Err() != nil || !s.passing(f):
			s.abandon(ctx, f)
			return nil, err
		}
		failures++
		if err := pause(ctx, fault.Of(err).After); err != nil {
			return nil, err
		}
		expected, err := s.expected(ctx)
		switch f := fault.Of(err); {
		case err == nil:
			at = expected
		case f.Class == fault.NotFound:
			return nil, fault.New(fault.NotFound, sessionGone, f.Text, err)
		case !s.passing(f):
			return nil, err
		}
	}
}

// passing reports whether an upload goes on after a failure: it is asked then which
// part is expected. A last part without an answer is in doubt and ends it.
func (s *session) passing(f *fault.Fault) bool {
	switch f.Code {
	case System + ".overlap", System + ".range":
		return true
	}
	return (f.Class == fault.Unavailable || f.Class == fault.Throttled) && f.After <= longestPause
}

// open begins a session. One whose answer is lost holds nothing that anybody sees.
func (s *session) open(ctx context.Context) error {
	if err := s.u.held(); err != nil {
		return err
	}
	body, err := json.Marshal(map[string]any{"item": map[string]any{
		"@microsoft.graph.conflictBehavior": s.u.behavior(), "name": s.u.w.Place.Name, "fileSize": s.u.w.Content.Size}})
	if err != nil {
		return fault.New(fault.Bug, "graph.session", "the beginning of an upload cannot be encoded", err)
	}
	h := http.Header{"Content-Type": {"application/json"}}
	if s.u.match != "" {
		h.Set("If-Match", s.u.match)
	}
	var got map[string]any
	if _, err := s.u.g.transport.Do(ctx, connector.Request{Method: http.MethodPost, Target: s.u.target + "/createUploadSession", Header: h, Body: body}, &got); err != nil {
		return err
	}
	if s.address = text(got["uploadUrl"]); s.address == "" {
		return s.u.g.transport.Malformed("it does not say where an upload goes")
	}
	return nil
}

// send sends the part at an offset and gives the file where it was the last one, else
// the offset that is expected next.
func (s *session) send(ctx context.Context, at int64) (item map[string]any, next int64, err error) {
	size := s.u.w.Content.Size
	n := min(int64(len(s.buffer)), size-at)
	last := at+n == size
	if err := s.seek(ctx, at); err != nil {
		return nil, 0, err
	}
	part := s.buffer[:n]
	if err := s.u.part(s.content, at, part); err != nil {
		return nil, 0, err
	}
	s.reached = at + n
	if err := s.u.held(); err != nil {
		return nil, 0, err
	}
	h := http.Header{"Content-Range": {fmt.Sprintf("bytes %d-%d/%d", at, at+n-1, size)}, "Content-Type": {"application/octet-stream"}}
	var got map[string]any
	answer, err := s.u.g.transport.Do(ctx, connector.Request{Method: http.MethodPut, Target: s.address, Header: h, Body: part, Elsewhere: true,
		Write: last, Held: s.u.w.Held}, &got)
	if err != nil {
		return nil, 0, err
	}
	if answer.Status != http.StatusAccepted {
		return got, size, nil
	}
	next, err = s.next(got)
	return nil, next, err
}

// seek has the content at an offset.
func (s *session) seek(ctx context.Context, at int64) (err error) {
	if s.content != nil && s.reached == at {
		return nil
	}
	s.drop()
	s.content, err = s.u.w.Content.Open(ctx, at)
	s.reached = at
	return err
}

// expected asks which part is expected next.
func (s *session) expected(ctx context.Context) (int64, error) {
	var got map[string]any
	if _, err := s.u.g.transport.Do(ctx, connector.Request{Method: http.MethodGet, Target: s.address, Elsewhere: true}, &got); err != nil {
		return 0, err
	}
	return s.next(got)
}

// next reads nextExpectedRanges, of which the first says where to go on.
func (s *session) next(answer map[string]any) (int64, error) {
	ranges, _ := answer["nextExpectedRanges"].([]any)
	if len(ranges) == 0 {
		return 0, s.u.g.transport.Malformed("it does not say which part of an upload it expects")
	}
	from, _, _ := strings.Cut(text(ranges[0]), "-")
	at, err := strconv.ParseInt(from, 10, 64)
	if err != nil || at < 0 || at >= s.u.w.Content.Size {
		return 0, s.u.g.transport.Malformed("it expects a part that the upload does not have")
	}
	return at, nil
}

// abandon gives back what Graph keeps of an upload that will not be ended, where that is
// certain. What becomes of it is no matter: it ends by itself.
func (s *session) abandon(ctx context.Context, why *fault.Fault) {
	if ctx.Err() == nil && why.Class != fault.InDoubt && why.Class != fault.Unavailable && why.Class != fault.Throttled {
		_, _ = s.u.g.transport.Do(ctx, connector.Request{Method: http.MethodDelete, Target: s.address, Elsewhere: true}, nil)
	}
}

func (s *session) drop() {
	if s.content != nil {
		_ = s.content.Close() // what was read stands
		s.content = nil
	}
}

// pause waits, where the caller has the time.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	if end, ok := ctx.Deadline(); ok && time.Until(end) < d {
		return fault.ThrottledFor(d, "graph.throttled", "the upload was asked to slow down for longer than it may take", nil)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
