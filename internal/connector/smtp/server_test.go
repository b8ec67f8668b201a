package smtp_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// cut, as an answer, ends the connection; hang leaves it open without a word.
const (
	cut  = "cut"
	hang = "hang"
)

// server is a small mail server that does what a test says at each state of the
// protocol. It keeps what it has taken: a mail whose final dot it saw.
type server struct {
	t        *testing.T
	address  string
	tls      *tls.Config
	root     string // file of the certificate
	implicit bool
	auth     string // mechanisms on offer

	mu       sync.Mutex
	answers  map[string][]string // by state: answers in turn; then the good one
	taken    []string
	sessions int
	lines    []string // commands
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{t: t, answers: map[string][]string{}, auth: "PLAIN LOGIN"}
	s.tls, s.root = certificate(t)
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s.address = ln.Addr().String()
	var running sync.WaitGroup
	t.Cleanup(func() { ln.Close(); running.Wait() })
	running.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				s.serve(conn)
			})
		}
	})
	return s
}

func (s *server) will(state string, answers ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[state] = answers
}

func (s *server) answer(state, good string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if list := s.answers[state]; len(list) > 0 {
		s.answers[state] = list[1:]
		return list[0]
	}
	return good
}

func (s *server) mails() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.taken...)
}

func (s *server) count(prefix string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, line := range s.lines {
		if strings.HasPrefix(line, prefix) {
			n++
		}
	}
	return n
}

func (s *server) opened() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions
}

func (s *server) serve(conn net.Conn) {
	s.mu.Lock()
	s.sessions++
	implicit, auth := s.implicit, s.auth
	s.mu.Unlock()
	if implicit {
		conn = tls.Server(conn, s.tls)
	}
	in := bufio.NewReader(conn)
	say := func(state, good string) bool {
		switch a := s.answer(state, good); a {
		case cut:
			return false
		case hang:
			_, _ = in.ReadByte() // until the client has enough
			return false
		default:
			_, err := conn.Write([]byte(a + "\r\n"))
			return err == nil
		}
	}
	if !say("connect", "220 test ESMTP") {
		return
	}
	secure := implicit
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		s.mu.Lock()
		s.lines = append(s.lines, line)
		s.mu.Unlock()
		verb, _, _ := strings.Cut(strings.ToUpper(line), " ")
		var ok bool
		switch verb {
		case "EHLO":
			offers := "250-test\r\n250-SIZE 200000\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n"
			if !secure && s.answer("offer", "STARTTLS") == "STARTTLS" {
				offers += "250-STARTTLS\r\n"
			}
			ok = say("ehlo", offers+"250 AUTH "+auth)
		case "HELO":
			ok = say("ehlo", "250 test")
		case "STARTTLS":
			if ok = say("starttls", "220 go"); ok {
				conn = tls.Server(conn, s.tls)
				in, secure = bufio.NewReader(conn), true
			}
		case "AUTH":
			switch {
			case strings.HasPrefix(line, "AUTH LOGIN"):
				for _, ask := range []string{"334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6"} {
					_, _ = conn.Write([]byte(ask + "\r\n"))
					answer, _ := in.ReadString('\n')
					s.mu.Lock()
					s.lines = append(s.lines, strings.TrimSpace(answer))
					s.mu.Unlock()
				}
				fallthrough
			default:
				ok = say("auth", "235 in")
			}
		case "MAIL":
			ok = say("mail", "250 ok")
		case "RCPT":
			ok = say("rcpt", "250 ok")
		case "DATA":
			a := s.answer("data", "354 go")
			if a == cut {
				return
			}
			_, _ = conn.Write([]byte(a + "\r\n"))
			if !strings.HasPrefix(a, "354") {
				continue
			}
			ok = s.data(in, say)
		case "QUIT":
			_, _ = conn.Write([]byte("221 bye\r\n"))
			return
		default:
			_, err := conn.Write([]byte("250 ok\r\n"))
			ok = err == nil
		}
		if !ok {
			return
		}
	}
}

// data takes a mail: what it answers with "dot" comes after it is stored, with
// "refuse" instead of that.
func (s *server) data(in *bufio.Reader, say func(state, good string) bool) bool {
	if s.answer("body", "") == cut {
		_, _ = in.ReadString('\n')
		return false
	}
	var text strings.Builder
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return false
		}
		if line == ".\r\n" {
			break
		}
		text.WriteString(strings.TrimPrefix(line, "."))
	}
	if a := s.answer("refuse", ""); a != "" {
		s.will("said", a)
		return say("said", a)
	}
	s.mu.Lock()
	s.taken = append(s.taken, text.String())
	s.mu.Unlock()
	return say("dot", "250 stored")
}

func certificate(t *testing.T) (*tls.Config, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	about := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, about, about, &key.PublicKey, key)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "root.pem")
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}, file
}
