package sap

import (
	"encoding/json"
	"net/url"
	"strconv"
	"strings"

	"patchbay/internal/connector"
)

// position is where a read stands; the zero position is its beginning. It is one of:
// behind the row with a key, behind a number of rows, or at a link that the server
// gave. A request asks for a number of rows; a server that gives fewer and a link is
// followed until it has given all of them.
type position struct {
	key  []any  // of the last row; nil where there was none, or in a read by $skip
	skip int    // rows before the request
	link string // query of the server's own continuation
	seen int    // rows that the links of one request have given
}

// mark parts a link from the key behind it; an address cannot have it.
const mark = '|'

// advance is the token of a position. How many rows were seen stands before the
// continuation: it grows also where the pages go in a circle.
func (s *SAP) advance(token string, p position) (string, error) {
	_, before, _ := strings.Cut(token, ";")
	after, err := s.transport.Advance(before, p.String())
	return strconv.Itoa(p.seen) + ";" + after, err
}

// at is the position that a token stands for.
func at(token string) (position, error) {
	seen, rest, ok := strings.Cut(token, ";")
	n, err := strconv.Atoi(seen)
	if !ok || err != nil || n < 0 {
		return position{}, connector.BadToken()
	}
	text, err := connector.Continuation(rest)
	if err != nil {
		return position{}, err
	}
	p, err := parsePosition(text)
	p.seen = n
	return p, err
}

// String is the position as a continuation: k[…], s… or l….
func (p position) String() string {
	key, err := json.Marshal(p.key)
	switch {
	case err != nil:
		return "" // values of rows have a JSON form
	case p.link != "":
		return "l" + strconv.Itoa(p.skip) + "," + p.link + string(mark) + string(key)
	case p.key != nil:
		return "k" + string(key)
	case p.skip > 0:
		return "s" + strconv.Itoa(p.skip)
	}
	return ""
}

// parsePosition reads what String wrote; anything else is a token of somebody else.
func parsePosition(text string) (position, error) {
	if text == "" {
		return position{}, connector.BadToken()
	}
	var p position
	rest := text[1:]
	switch text[0] {
	case 'k':
		if readKey(rest, &p.key) != nil || len(p.key) == 0 {
			return position{}, connector.BadToken()
		}
	case 's':
		n, err := strconv.Atoi(rest)
		if err != nil || n <= 0 {
			return position{}, connector.BadToken()
		}
		p.skip = n
	case 'l':
		skip, link, ok := strings.Cut(rest, ",")
		link, key, marked := strings.Cut(link, string(mark))
		n, err := strconv.Atoi(skip)
		if !ok || !marked || err != nil || n < 0 || !strings.Contains(link, "=") || readKey(key, &p.key) != nil {
			return position{}, connector.BadToken()
		}
		p.skip, p.link = n, link
	default:
		return position{}, connector.BadToken()
	}
	return p, nil
}

func readKey(text string, into *[]any) error {
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	return dec.Decode(into)
}

// linkQuery is what of a next link is used: its query. Proxies change hosts and
// prefixes, links may be absolute or relative, and whatever they say the next page
// is of the same set: so a link never leads anywhere else.
func (s *SAP) linkQuery(link string) (string, error) {
	u, err := url.Parse(link)
	if err != nil || u.RawQuery == "" {
		return "", s.transport.Malformed("the link to the next page has no query")
	}
	query := u.RawQuery
	for _, c := range strings.Split(s.common, "&") {
		name, _, _ := strings.Cut(c, "=")
		if name != "" && !strings.Contains("&"+strings.ToLower(query), "&"+name+"=") {
			query += "&" + c
		}
	}
	return strings.ReplaceAll(query, string(mark), "%7C"), nil
}

// below is a link's path from the root of the service on, with its query: for links
// into other sets than the one that is read.
func (s *SAP) below(root, link string) (string, error) {
	query, err := s.linkQuery(link)
	if err != nil {
		return "", err
	}
	u, err := url.Parse(link)
	if err != nil {
		return "", s.transport.Malformed("a link is none")
	}
	path := u.EscapedPath()
	service := root[strings.LastIndexByte(root, '/'):] + "/"
	if i := strings.LastIndex(path, service); i >= 0 {
		path = path[i+len(service):]
	}
	if path == "" || strings.HasPrefix(path, "/") || strings.Contains(path, "..") {
		return "", s.transport.Malformed("a link leads out of its service")
	}
	return root + "/" + path + "?" + query, nil
}
