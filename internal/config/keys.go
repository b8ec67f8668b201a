package config

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// Keys are the bearer keys of an installation by the SHA-256 of the key. Looking
// one up compares digests, so that time tells nothing about a key.
type Keys struct {
	byDigest map[[sha256.Size]byte]flow.Principal
}

var keyName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// ReadKeys reads a keys file: one key a line, three fields, # begins a comment:
//
//	# name     SHA-256 of the key                                                role
//	erp-app    9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08   press
//
// Every mistake is named with its line in one Invalid fault "keys.invalid".
func ReadKeys(path string) (*Keys, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.New(fault.Invalid, "keys.unreadable", "the keys file "+path+" cannot be read", err)
	}
	defer f.Close()
	return parseKeys(f, path)
}

func parseKeys(r io.Reader, path string) (*Keys, error) {
	keys := &Keys{byDigest: map[[sha256.Size]byte]flow.Principal{}}
	names := map[string]bool{}
	var wrong []fault.Field
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		bad := func(detail, fix string) {
			wrong = append(wrong, fault.Field{Path: fmt.Sprintf("%s:%d", path, n), Code: "keys.line", Detail: detail, Fix: fix})
		}
		if len(fields) != 3 {
			bad(fmt.Sprintf("has %d fields", len(fields)), "write name, SHA-256 of the key in hex, role")
			continue
		}
		digest, err := hex.DecodeString(fields[1])
		switch {
		case !keyName.MatchString(fields[0]):
			bad("the name is not of lower-case letters, digits, dots and dashes", "name the key after the app that holds it")
		case names[fields[0]]:
			bad("the name "+fields[0]+" is used twice", "give every key a name of its own")
		case err != nil || len(digest) != sha256.Size:
			bad("the second field is no SHA-256 in hex", "printf %s KEY | sha256sum")
		case fields[2] != flow.RolePress && fields[2] != flow.RoleOperate && fields[2] != flow.RoleAdmin:
			bad("the role is unknown", "press, operate or admin")
		default:
			names[fields[0]] = true
			keys.byDigest[[sha256.Size]byte(digest)] = flow.Principal{Name: "key:" + fields[0], Role: fields[2]}
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fault.New(fault.Invalid, "keys.unreadable", "the keys file "+path+" cannot be read", err)
	}
	if len(wrong) > 0 {
		details := make([]string, len(wrong))
		for i, f := range wrong {
			details[i] = f.Path + ": " + f.Detail + "; " + f.Fix
		}
		return nil, fault.Invalidf("keys.invalid", "%s", strings.Join(details, "\n")).With(wrong...)
	}
	if len(keys.byDigest) == 0 {
		return nil, fault.Invalidf("keys.empty", "the keys file %s has no key", path)
	}
	return keys, nil
}

// Principal is who holds the key.
func (k *Keys) Principal(key string) (flow.Principal, bool) {
	if k == nil || key == "" {
		return flow.Principal{}, false
	}
	p, ok := k.byDigest[sha256.Sum256([]byte(key))]
	return p, ok
}
