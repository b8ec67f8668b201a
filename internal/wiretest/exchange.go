package wiretest

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

type (
	// Exchange is one noted request with its answer. A file is: comment lines that
	// name the source, the request, a line "---", the answer. A comment
	// "# fault: {…}" says which fault a stand-in needs before it answers so.
	//
	// Headers that a file does not name are not compared; queries and forms
	// compare decoded and without order; lines of a multipart body end with CRLF. All else is exact, except where a
	// placeholder stands:
	//
	//	<any EXAMPLE>       anything; EXAMPLE is what Answer sends, JSON where it parses
	//	<let NAME EXAMPLE>  any text, kept in Vars under NAME for later exchanges
	//	<NAME>              the value of a variable: base, token, or what a let kept
	//	"<more>": true      the object may have further members
	//	"<more>"            as last element: the array may have further elements
	Exchange struct {
		Name   string   // "oracle/01-item-by-number"
		Notes  []string // the comment lines, without "# "
		Fault  string   // JSON of the fault a stand-in needs first; usually empty
		Method string
		Target string // path and query below the system's base URL, or "<NAME>"
		Sent   Message
		Status int
		Given  Message
	}

	// Message is what requests and answers share.
	Message struct {
		Header http.Header
		Body   string // without the newline that ends the file
	}

	// Vars are the variables of one story. Set "base", the URL before Target
	// without a trailing slash, and "token"; <let> adds to it.
	Vars map[string]string
)

// Load reads every exchange of one directory below testdata/wire, in the order
// of the names.
func Load(dir string) ([]Exchange, error) {
	root, err := moduleRoot()
	if err != nil {
		return nil, err
	}
	names, err := fs.Glob(os.DirFS(filepath.Join(root, "testdata", "wire", dir)), "*.http")
	if err != nil {
		return nil, fmt.Errorf("listing exchanges of %s: %w", dir, err)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no exchanges in testdata/wire/%s", dir)
	}
	sort.Strings(names)
	exchanges := make([]Exchange, 0, len(names))
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(root, "testdata", "wire", dir, name))
		if err != nil {
			return nil, fmt.Errorf("reading an exchange: %w", err)
		}
		x, err := Parse(dir+"/"+strings.TrimSuffix(name, ".http"), string(text))
		if err != nil {
			return nil, err
		}
		exchanges = append(exchanges, x)
	}
	return exchanges, nil
}

// Parse reads one exchange.
func Parse(name, text string) (Exchange, error) {
	x := Exchange{Name: name}
	text = strings.ReplaceAll(text, "\r\n", "\n")
	for strings.HasPrefix(text, "#") || strings.HasPrefix(text, "\n") {
		line, rest, _ := strings.Cut(text, "\n")
		text = rest
		if note := strings.TrimSpace(strings.TrimPrefix(line, "#")); note != "" {
			if fault, ok := strings.CutPrefix(note, "fault:"); ok {
				x.Fault = strings.TrimSpace(fault)
				continue
			}
			x.Notes = append(x.Notes, note)
		}
	}
	request, answer, ok := strings.Cut(text, "\n---\n")
	if !ok {
		return x, fmt.Errorf("%s: no line \"---\" between request and answer", name)
	}
	first, sent, err := message(request)
	if err != nil {
		return x, fmt.Errorf("%s: request: %w", name, err)
	}
	x.Sent = sent
	x.Method, x.Target, ok = strings.Cut(strings.TrimSuffix(first, " HTTP/1.1"), " ")
	if !ok {
		return x, fmt.Errorf("%s: request line %q", name, first)
	}
	first, given, err := message(answer)
	if err != nil {
		return x, fmt.Errorf("%s: answer: %w", name, err)
	}
	x.Given = given
	fields := strings.Fields(first)
	if len(fields) < 2 {
		return x, fmt.Errorf("%s: status line %q", name, first)
	}
	if x.Status, err = strconv.Atoi(fields[1]); err != nil {
		return x, fmt.Errorf("%s: status line %q", name, first)
	}
	return x, nil
}

func message(text string) (first string, m Message, err error) {
	head, body, _ := strings.Cut(text, "\n\n")
	lines := strings.Split(strings.TrimRight(head, "\n"), "\n")
	m = Message{Header: http.Header{}, Body: strings.TrimRight(body, "\n")}
	for _, line := range lines[1:] {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return "", m, fmt.Errorf("header line %q", line)
		}
		m.Header.Add(name, strings.TrimSpace(value))
	}
	return lines[0], m, nil
}

func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("finding the module: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("finding the module: no go.mod above the working directory")
		}
		dir = parent
	}
}
