package flowfile

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

type (
	setting struct {
		at
		value string
	} // text that may hold references
	secret struct {
		at
		value string
	} // a reference and nothing else
	address struct {
		at
		value string
	} // a URL that may hold references
)

// day is a date, which YAML would read as a time.
type day struct {
	at
	value string
}

func (d *day) read(r *reader, n *yaml.Node, f field) {
	if _, err := time.Parse(time.DateOnly, n.Value); n.Kind != yaml.ScalarNode || err != nil {
		r.add(placeOf(n), CodeType, fmt.Sprintf("%s is %s where a date is due", f.name(), what(n)), "write year, month and day: 2027-01-31")
		return
	}
	d.value = n.Value
}
func (d *day) schema(field) object { return object{"type": "string", "format": "date"} }

// reference is ${env:NAME} or ${file:PATH}, the only two forms.
var (
	reference = regexp.MustCompile(`\$\{(env:[A-Za-z_][A-Za-z0-9_]*|file:[^{}$]+)\}`)
	justOne   = regexp.MustCompile(`^\$\{(env:[A-Za-z_][A-Za-z0-9_]*|file:[^{}$]+)\}$`)
)

// references refuses what looks like a reference but is none.
func (r *reader) references(n *yaml.Node, f field) bool {
	if strings.Contains(reference.ReplaceAllString(n.Value, ""), "${") {
		r.add(placeOf(n), CodeUnknownRef, f.name()+" holds a reference that cannot be read", "write ${env:NAME} or ${file:PATH}")
		return false
	}
	return true
}

func (s *setting) read(r *reader, n *yaml.Node, f field) {
	if v, ok := r.text(n, f); ok && r.references(n, f) {
		s.value = v
		if secretName.MatchString(f.key) && !justOne.MatchString(v) {
			r.add(placeOf(n), CodeInlineSecret, f.key+" is written out (not shown)", inlineFix)
		}
	}
}
func (s *setting) schema(field) object { return object{"type": "string"} }

var secretName = regexp.MustCompile(`(?i)(secret|password|passwd|api_?key|private_?key)$`)

const inlineFix = "put it into the environment or a file and write ${env:NAME} or ${file:PATH}; then replace the credential, for it has been written down"

func (s *secret) read(r *reader, n *yaml.Node, f field) {
	switch {
	case n.Kind != yaml.ScalarNode || n.Value == "":
		r.add(placeOf(n), CodeType, fmt.Sprintf("%s is %s where a reference is due", f.name(), what(n)), "write ${env:NAME} or ${file:PATH}")
	case justOne.MatchString(n.Value):
		s.value = n.Value
	case strings.HasPrefix(n.Value, "${"):
		if r.references(n, f) {
			r.add(placeOf(n), CodeUnknownRef, f.name()+" is a reference and something else", "write ${env:NAME} or ${file:PATH} and nothing more; what it stands for has to be the whole text")
		}
	case looksSecret.MatchString(n.Value): // reported by structure
	default:
		r.add(placeOf(n), CodeInlineSecret, f.name()+" is written out (not shown)", inlineFix)
	}
}
func (s *secret) schema(field) object {
	return object{"type": "string", "pattern": justOne.String()}
}

func (a *address) read(r *reader, n *yaml.Node, f field) {
	v, ok := r.text(n, f)
	if !ok || !r.references(n, f) {
		return
	}
	a.value = v
	if why, fix := badURL(v); why != "" {
		r.add(placeOf(n), CodeURL, f.name()+" "+why, fix)
	}
}
func (a *address) schema(field) object { return object{"type": "string"} }

// badURL says what is wrong with an address, without showing it. A reference at
// the front stands for scheme and host and is judged when it is resolved.
func badURL(v string) (why, fix string) {
	open := strings.HasPrefix(v, "${")
	if open {
		end := strings.IndexByte(v, '}')
		v = "https://reference.invalid" + v[end+1:]
	}
	u, err := url.Parse(reference.ReplaceAllString(v, "reference"))
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return "is no address", "write https://HOST"
	case u.User != nil:
		return "holds a user (not shown)", "sign in with auth"
	case u.RawQuery != "" || u.Fragment != "":
		return "holds a query or a fragment", "write scheme, host and path only"
	}
	host := u.Hostname()
	loopback := host == "localhost" || host == "127.0.0.1" || host == "::1"
	switch {
	case !slices.Contains([]string{"https", "postgres", "smtp", "smtps", "imap", "imaps"}, u.Scheme) && (u.Scheme != "http" || !loopback):
		return "is not encrypted", "write https://"
	case !loopback && !open && numeric(host):
		return "names its host by a number that is private or in an odd form", "write the host's name"
	}
	return "", ""
}

// numeric reports a host that is an address of a private or special network, or
// a number that some resolvers take for one (127.1, 2130706433, 0x7f000001).
func numeric(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Is4In6() || ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified() || ip.Zone() != ""
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	return oddNumber.MatchString(last)
}

var oddNumber = regexp.MustCompile(`^(0[xX][0-9a-fA-F]*|[0-9]+)$`)
