package wiretest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"reflect"
	"sort"
	"strings"
)

// more is the member or element that opens an object or array.
const more = "<more>"

// NewRequest builds the noted request for a server at Vars["base"].
func (x Exchange) NewRequest(v Vars) (*http.Request, error) {
	body, err := v.body(x.Sent)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", x.Name, err)
	}
	r, err := http.NewRequest(x.Method, x.address(v), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", x.Name, err)
	}
	for name, values := range x.Sent.Header {
		for _, value := range values {
			r.Header.Add(name, v.fill(value))
		}
	}
	return r, nil
}

// CheckResponse compares a server's answer with the note; nil when it agrees.
func (x Exchange) CheckResponse(status int, h http.Header, body []byte, v Vars) []string {
	var wrong []string
	if status != x.Status {
		wrong = append(wrong, fmt.Sprintf("status is %d, noted %d", status, x.Status))
	}
	wrong = append(wrong, v.checkHeader(x.Given.Header, h)...)
	return append(wrong, v.checkBody(x.Given, body)...)
}

// CheckRequest compares a client's request with the note; nil when it agrees.
func (x Exchange) CheckRequest(r *http.Request, body []byte, v Vars) []string {
	var wrong []string
	if r.Method != x.Method {
		wrong = append(wrong, fmt.Sprintf("method is %s, noted %s", r.Method, x.Method))
	}
	noted, err := url.Parse(x.address(v))
	if err != nil {
		return append(wrong, "the noted target does not parse: "+err.Error())
	}
	if r.URL.Path != noted.Path {
		wrong = append(wrong, fmt.Sprintf("path is %s, noted %s", r.URL.Path, noted.Path))
	}
	if got, want := r.URL.Query(), noted.Query(); !reflect.DeepEqual(got, want) {
		wrong = append(wrong, fmt.Sprintf("query is %v, noted %v", got, want))
	}
	wrong = append(wrong, v.checkHeader(x.Sent.Header, r.Header)...)
	return append(wrong, v.checkBody(x.Sent, body)...)
}

// Answer writes the noted answer.
func (x Exchange) Answer(w http.ResponseWriter, v Vars) error {
	for name, values := range x.Given.Header { // first: a body may use what they let
		for _, value := range values {
			w.Header().Add(name, v.fill(value))
		}
	}
	body, err := v.body(x.Given)
	if err != nil {
		return fmt.Errorf("%s: %w", x.Name, err)
	}
	w.WriteHeader(x.Status)
	if _, err := w.Write(body); err != nil && !errors.Is(err, http.ErrBodyNotAllowed) {
		return fmt.Errorf("%s: %w", x.Name, err)
	}
	return nil
}

func (x Exchange) address(v Vars) string {
	target := v.fill(x.Target)
	if strings.HasPrefix(target, "/") {
		target = v["base"] + target
	}
	return target
}

// body writes a noted body out, as JSON where it is JSON.
func (v Vars) body(m Message) ([]byte, error) {
	if m.Body == "" {
		return nil, nil
	}
	if m.multipart() {
		return []byte(strings.ReplaceAll(v.fill(m.Body), "\n", "\r\n") + "\r\n"), nil
	}
	if !m.json() {
		return []byte(v.fill(m.Body)), nil
	}
	tree, err := decode([]byte(m.Body))
	if err != nil {
		return nil, fmt.Errorf("noted body: %w", err)
	}
	return json.Marshal(v.fillTree(tree))
}

// kind is the noted media type, also where the note accepts others.
func (m Message) kind() string {
	kind, _, _ := mime.ParseMediaType(Vars{}.fill(m.Header.Get("Content-Type")))
	return kind
}

func (m Message) json() bool { return strings.HasSuffix(m.kind(), "json") }

// multipart says that the lines of the body end with CRLF, which a note leaves out.
func (m Message) multipart() bool { return strings.HasPrefix(m.kind(), "multipart/") }

func (v Vars) fillTree(node any) any {
	switch n := node.(type) {
	case string:
		if example, ok := v.whole(n); ok {
			if tree, err := decode([]byte(example)); err == nil {
				return tree
			}
			return example
		}
		return v.fill(n)
	case []any:
		out := make([]any, 0, len(n))
		for _, e := range n {
			if e != more {
				out = append(out, v.fillTree(e))
			}
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(n))
		for name, e := range n {
			if name != more {
				out[name] = v.fillTree(e)
			}
		}
		return out
	}
	return node
}

func (v Vars) checkHeader(noted, got http.Header) []string {
	var wrong []string
	for name, values := range noted {
		have := strings.Join(got.Values(name), ", ")
		if want := strings.Join(values, ", "); !v.match(want, have) {
			wrong = append(wrong, fmt.Sprintf("header %s is %q, noted %q", name, have, want))
		}
	}
	sort.Strings(wrong)
	return wrong
}

func (v Vars) checkBody(m Message, got []byte) []string {
	switch {
	case m.Body == "":
		if len(bytes.TrimSpace(got)) > 0 {
			return []string{"there is a body, noted is none"}
		}
		return nil
	case m.json():
		want, err := decode([]byte(m.Body))
		if err != nil {
			return []string{"the noted body: " + err.Error()}
		}
		have, err := decode(got)
		if err != nil {
			return []string{fmt.Sprintf("the body %.200q: %v", got, err)}
		}
		return v.checkTree("body", want, have)
	case m.kind() == "application/x-www-form-urlencoded":
		want, _ := url.ParseQuery(v.fill(m.Body))
		have, err := url.ParseQuery(string(got))
		if err != nil || !reflect.DeepEqual(want, have) {
			return []string{fmt.Sprintf("the form is %v, noted %v", have, want)}
		}
		return nil
	}
	if m.multipart() {
		if !bytes.HasSuffix(got, []byte("\r\n")) {
			return []string{"the last line of the parts does not end with CRLF"}
		}
		got = bytes.ReplaceAll(got, []byte("\r\n"), []byte("\n"))
	}
	if have := strings.TrimSpace(string(got)); !v.match(m.Body, have) {
		return []string{fmt.Sprintf("the body is %.200q, noted %.200q", have, m.Body)}
	}
	return nil
}

func (v Vars) checkTree(path string, noted, got any) []string {
	switch want := noted.(type) {
	case string:
		if _, ok := v.whole(want); ok {
			return nil
		}
		if have, ok := got.(string); ok && v.match(want, have) {
			return nil
		}
	case json.Number:
		have, ok := got.(json.Number)
		if ok && equalNumbers(want, have) {
			return nil
		}
	case []any:
		have, ok := got.([]any)
		open := len(want) > 0 && want[len(want)-1] == more
		if open {
			want = want[:len(want)-1]
		}
		if !ok || len(have) < len(want) || (!open && len(have) > len(want)) {
			return []string{fmt.Sprintf("%s has not the noted %d elements", path, len(want))}
		}
		var wrong []string
		for i := range want {
			wrong = append(wrong, v.checkTree(fmt.Sprintf("%s[%d]", path, i), want[i], have[i])...)
		}
		return wrong
	case map[string]any:
		return v.checkObject(path, want, got)
	default:
		if reflect.DeepEqual(noted, got) {
			return nil
		}
	}
	return []string{fmt.Sprintf("%s is %v, noted %v", path, got, noted)}
}

func (v Vars) checkObject(path string, want map[string]any, got any) []string {
	have, ok := got.(map[string]any)
	if !ok {
		return []string{fmt.Sprintf("%s is %v, noted is an object", path, got)}
	}
	var wrong []string
	for name, e := range want {
		if name == more {
			continue
		}
		if value, ok := have[name]; ok {
			wrong = append(wrong, v.checkTree(path+"."+name, e, value)...)
		} else {
			wrong = append(wrong, fmt.Sprintf("%s.%s is missing", path, name))
		}
	}
	if _, open := want[more]; !open {
		for name := range have {
			if _, ok := want[name]; !ok {
				wrong = append(wrong, fmt.Sprintf("%s.%s is not noted", path, name))
			}
		}
	}
	sort.Strings(wrong)
	return wrong
}

func equalNumbers(a, b json.Number) bool {
	if a == b {
		return true
	}
	x, errX := a.Float64()
	y, errY := b.Float64()
	return errX == nil && errY == nil && x == y
}

func decode(text []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var tree any
	if err := dec.Decode(&tree); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("data after the document")
	}
	return tree, nil
}
