// Package dovecot is Debian's mail server as a child of a test, on a free port of this machine:
// what incoming mail is tested against. It has one account, with one mailbox, into which a
// test puts messages as a mail server does. It needs the binary (tools/install dovecot), and
// runs as nobody where the test is root, which Dovecot refuses to be. It knows nothing of
// Patchbay.
package dovecot

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The account. Its mailbox is INBOX.
const (
	User     = "box"
	Password = "secret-of-the-box"
)

// Dovecot is Debian's own server, as a child on a free port of this machine, with a
// mailbox of its own. It runs as nobody where this process is root, which it refuses to be.
type Dovecot struct {
	Port int // on 127.0.0.1, without TLS

	t   *testing.T
	dir string
	uid int
	gid int
	n   int
}

const account = `base_dir = %[1]s/run
state_dir = %[1]s/state
log_path = %[1]s/log
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
default_internal_user = %[2]s
default_internal_group = %[3]s
default_login_user = %[2]s
first_valid_uid = 1
mail_location = maildir:%[1]s/mail/%%u
mailbox_list_index = no
passdb {
  driver = passwd-file
  args = %[1]s/users
}
userdb {
  driver = static
  args = uid=%[4]d gid=%[5]d home=%[1]s/mail/%%u
}
service imap-login {
  chroot =
  inet_listener imap {
    port = %[6]d
  }
  inet_listener imaps {
    port = 0
  }
}
service anvil {
  chroot =
}
`

// New starts a server with an empty mailbox. It ends with the test.
func New(t *testing.T) *Dovecot {
	t.Helper()
	binary := "/usr/sbin/dovecot"
	if path, err := exec.LookPath("dovecot"); err == nil {
		binary = path
	}
	if _, err := os.Stat(binary); err != nil {
		t.Fatal("there is no dovecot, against which incoming mail is tested; install it with: tools/install dovecot")
	}
	dir, err := os.MkdirTemp("", "dovecot") //nolint:usetesting // nobody cannot enter the directories of t.TempDir
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	d := &Dovecot{t: t, dir: dir, uid: os.Getuid(), gid: os.Getgid()}
	if d.uid == 0 {
		d.uid, d.gid = 65534, 65534
	}
	who, err := user.LookupId(strconv.Itoa(d.uid))
	require.NoError(t, err)
	group, err := user.LookupGroupId(strconv.Itoa(d.gid))
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	d.Port = l.Addr().(*net.TCPAddr).Port
	require.NoError(t, l.Close())
	conf := fmt.Sprintf(account, dir, who.Username, group.Name, d.uid, d.gid, d.Port)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "dovecot.conf"), []byte(conf), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "users"), []byte(User+":{PLAIN}"+Password+"::::::\n"), 0o600))
	for _, sub := range []string{"mail/box/new", "mail/box/cur", "mail/box/tmp"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, sub), 0o700))
	}
	require.NoError(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(path, d.uid, d.gid)
	}))
	cmd := exec.CommandContext(context.Background(), binary, "-F", "-c", filepath.Join(dir, "dovecot.conf"))
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if os.Getuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(d.uid), Gid: uint32(d.gid)}
	}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) // the master and all it started
		_ = cmd.Wait()
	})
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(d.Port)))
		if err != nil {
			return false
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(time.Second))
		line := make([]byte, 4)
		_, err = conn.Read(line)
		return err == nil && string(line) == "* OK"
	}, 30*time.Second, 20*time.Millisecond, "dovecot does not answer")
	return d
}

// Arrives puts a message into the mailbox as a mail server does.
func (d *Dovecot) Arrives(message string) {
	d.t.Helper()
	d.n++
	name := fmt.Sprintf("%d.M%dP1.test", time.Now().Unix(), d.n)
	at := filepath.Join(d.dir, "mail/box/tmp", name)
	require.NoError(d.t, os.WriteFile(at, bytes.ReplaceAll([]byte(message), []byte("\n"), []byte("\r\n")), 0o600))
	require.NoError(d.t, os.Chown(at, d.uid, d.gid))
	require.NoError(d.t, os.Rename(at, filepath.Join(d.dir, "mail/box/new", name)))
}

// Deletes takes all messages out of the mailbox.
func (d *Dovecot) Deletes() {
	d.t.Helper()
	files, err := filepath.Glob(filepath.Join(d.dir, "mail/box/[cn]??/*"))
	require.NoError(d.t, err)
	require.NotEmpty(d.t, files)
	for _, f := range files {
		require.NoError(d.t, os.Remove(f))
	}
}

// Renumbers has the server forget what it called the messages.
func (d *Dovecot) Renumbers() {
	d.t.Helper()
	files, err := filepath.Glob(filepath.Join(d.dir, "mail/box/dovecot*"))
	require.NoError(d.t, err)
	require.NotEmpty(d.t, files)
	for _, f := range files {
		require.NoError(d.t, os.RemoveAll(f))
	}
	list := filepath.Join(d.dir, "mail/box/dovecot-uidlist")
	require.NoError(d.t, os.WriteFile(list, []byte("3 V4242424 N900\n"), 0o600))
	require.NoError(d.t, os.Chown(list, d.uid, d.gid))
}
