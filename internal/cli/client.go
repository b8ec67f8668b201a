package cli

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"patchbay/internal/flow"
)

const defaultServer = "http://127.0.0.1:8080"

// serverFlags name the Patchbay that a command speaks to.
func serverFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "server", Usage: "`URL` of the Patchbay to speak to (default: the one in .patchbay/dev.json, else " + defaultServer + ")", Sources: cli.EnvVars("PATCHBAY_SERVER")},
		&cli.StringFlag{Name: "key", Usage: "bearer `KEY`, where the server asks for one", Sources: cli.EnvVars("PATCHBAY_KEY")},
		&cli.BoolFlag{Name: "json", Usage: "print JSON"},
	}
}

// remote speaks the API of a running Patchbay.
type remote struct {
	base string
	key  string
	http *http.Client
}

// apiError is a problem+json answer.
type apiError struct {
	Status int    `json:"status"`
	Code   string `json:"code"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Errors []struct {
		Location string `json:"location"`
		Path     string `json:"path"`
		Message  string `json:"message"`
		Detail   string `json:"detail"`
		Fix      string `json:"fix"`
	} `json:"errors"`
}

func (e *apiError) Error() string {
	text := e.Detail
	if text == "" {
		text = e.Title
	}
	text = e.Code + ": " + plain(text)
	for _, f := range e.Errors {
		if f.Fix != "" {
			text += "\n  " + plain(strings.TrimPrefix(firstOf(f.Path, f.Location), "params.")+": "+f.Fix)
		}
	}
	return text
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// dial finds the server; it makes no request.
func dial(c *cli.Command) (*remote, error) {
	base := c.String("server")
	if base == "" {
		var err error
		if base, err = discover(".patchbay"); err != nil {
			return nil, err
		}
	}
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, usage("--server %q is not a URL such as %s", base, defaultServer)
	}
	return &remote{base: strings.TrimRight(base, "/"), key: c.String("key"), http: &http.Client{}}, nil
}

// discover returns the address of the Patchbay that runs on this directory, or
// the default where none has. A record that cannot be read is no reason to speak
// to another Patchbay.
func discover(dir string) (string, error) {
	file := filepath.Join(dir, "dev.json")
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return defaultServer, nil
	}
	var info struct {
		HTTP string `json:"http"`
	}
	if err != nil || json.Unmarshal(b, &info) != nil {
		return "", usage("%s cannot be read; name the server with --server URL", file)
	}
	return cmp.Or(info.HTTP, defaultServer), nil
}

// call sends a request and decodes a 2xx answer into out.
func (r *remote) call(ctx context.Context, method, path string, header http.Header, in, out any) error {
	_, b, err := r.exchange(ctx, method, path, header, in)
	if err != nil {
		return err
	}
	return r.decode(b, out)
}

// exchange sends a request and gives a 2xx answer as it came.
func (r *remote) exchange(ctx context.Context, method, path string, header http.Header, in any) (status int, answer []byte, err error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return 0, nil, fmt.Errorf("encoding the request: %w", err)
		}
		body = bytes.NewReader(b)
	}
	resp, err := r.send(ctx, method, path, header, body)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	switch {
	case ctx.Err() != nil:
		return 0, nil, ctx.Err()
	case err != nil:
		return 0, nil, fmt.Errorf("reading the answer of %s: %w", r.base, err)
	}
	return resp.StatusCode, answer, nil
}

// decode reads an answer; numbers in untyped places stay exact.
func (r *remote) decode(answer []byte, out any) error {
	d := json.NewDecoder(bytes.NewReader(answer))
	d.UseNumber()
	if err := d.Decode(out); err != nil {
		return r.stranger()
	}
	return nil
}

// send returns a 2xx answer; any other is an error.
func (r *remote) send(ctx context.Context, method, path string, header http.Header, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, r.base+path, body)
	if err != nil {
		return nil, fmt.Errorf("building the request: %w", err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	req.Header.Set("Content-Type", "application/json")
	if r.key != "" {
		req.Header.Set("Authorization", "Bearer "+r.key)
	}
	resp, err := r.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("no Patchbay answers at %s; start one with `patchbay dev` or name it with --server", r.base)
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	problem := &apiError{Status: resp.StatusCode}
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	switch {
	case json.Unmarshal(b, problem) == nil && problem.Code != "":
		return nil, problem
	case resp.StatusCode >= http.StatusInternalServerError: // perhaps a proxy in front of one
		return nil, fmt.Errorf("%s answered %s", r.base, resp.Status)
	}
	return nil, r.stranger()
}

// stranger says that what answers is something else.
func (r *remote) stranger() error {
	return fmt.Errorf("this is no Patchbay: %s; name one with --server", r.base)
}

// follow calls each with every state of the run until it is final or each
// returns false. A stream that breaks is taken up where it broke.
func (r *remote) follow(ctx context.Context, id string, each func(flow.Run) bool) error {
	last := ""
	for {
		done, err := r.stream(ctx, id, &last, each)
		var problem *apiError
		if done || ctx.Err() != nil || errors.As(err, &problem) {
			return errors.Join(err, ctx.Err())
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

func (r *remote) stream(ctx context.Context, id string, last *string, each func(flow.Run) bool) (done bool, err error) {
	header := http.Header{"Accept": {"text/event-stream"}}
	if *last != "" {
		header.Set("Last-Event-ID", *last)
	}
	resp, err := r.send(ctx, http.MethodGet, "/v1/runs/"+url.PathEscape(id)+"/events", header, nil)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		switch field, value, _ := strings.Cut(lines.Text(), ":"); field {
		case "id":
			*last = strings.TrimSpace(value)
		case "data":
			var state flow.Run
			if err := r.decode([]byte(value), &state); err != nil {
				return false, err
			}
			if !each(state) || state.Status.Final() {
				return true, nil
			}
		}
	}
	return false, lines.Err()
}
