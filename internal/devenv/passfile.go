package devenv

import (
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"patchbay/internal/fault"
)

// passfile holds the database's password in the form that PostgreSQL's clients
// read, so that no argument list has to.
func (e *Env) passfile() string { return filepath.Join(e.dir, "postgres.pass") }

var (
	passEscape   = strings.NewReplacer(`\`, `\\`, `:`, `\:`)
	passUnescape = strings.NewReplacer(`\\`, `\`, `\:`, `:`)
)

func writePassword(path, user, password string) error {
	return writeFile(path, []byte("*:*:*:"+passEscape.Replace(user)+":"+passEscape.Replace(password)+"\n"))
}

// readPassword reads what writePassword wrote for the owner of the cluster.
func readPassword(path, cluster string) (string, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fault.New(fault.NotFound, "devenv.no_password", "the database of a former start is in "+cluster+", and its password is gone; begin anew with --fresh, or put "+path+" back", err)
	}
	if err != nil {
		return "", err
	}
	_, password, found := strings.Cut(strings.TrimSuffix(string(b), "\n"), "*:*:*:"+owner+":")
	if !found {
		return "", fault.Invalidf("devenv.no_password", "%s holds no password; begin anew with --fresh", path)
	}
	return passUnescape.Replace(password), nil
}

// argumentURL moves the password of a database URL into the pass file and names
// another database.
func (e *Env) argumentURL(address, name string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", fault.New(fault.Invalid, "devenv.database", "the database's address is no URL", err)
	}
	if password, set := u.User.Password(); set {
		if err := writePassword(e.passfile(), u.User.Username(), password); err != nil {
			return "", err
		}
		u.User = url.User(u.User.Username())
		q := u.Query()
		q.Set("passfile", e.passfile())
		u.RawQuery = q.Encode()
	}
	u.Path = "/" + name
	return u.String(), nil
}
