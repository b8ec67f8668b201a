package toxic_test

import (
	"bufio"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/e2e/toxic"
)

// echo is a server that says what it hears.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
		}
	}()
	return l.Addr().String()
}

// ask says a line and gives how long the echo took.
func ask(address string) (took time.Duration, err error) {
	begun := time.Now()
	c, err := net.Dial("tcp", address)
	if err != nil {
		return 0, err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(begun.Add(10 * time.Second)); err != nil {
		return 0, err
	}
	if _, err := io.WriteString(c, "hello\n"); err != nil {
		return 0, err
	}
	_, err = bufio.NewReader(c).ReadString('\n')
	return time.Since(begun), err
}

func TestALineFailsAsAskedAndIsGoodAgain(t *testing.T) {
	t.Parallel()
	for fault, holds := range map[toxic.Fault]func(time.Duration, error) bool{
		toxic.Cut:       func(_ time.Duration, err error) bool { return err != nil },
		toxic.Latency:   func(took time.Duration, err error) bool { return err == nil && took >= 4*time.Second },
		toxic.Reset:     func(_ time.Duration, err error) bool { return err != nil },
		toxic.Slices:    func(_ time.Duration, err error) bool { return err == nil },
		toxic.BlackHole: func(took time.Duration, err error) bool { return err != nil && took >= 9*time.Second },
	} {
		t.Run(string(fault), func(t *testing.T) {
			t.Parallel()
			line := toxic.New(t, echo(t))
			_, err := ask(line.Address())
			require.NoError(t, err)
			line.Fail(fault)
			took, err := ask(line.Address())
			require.True(t, holds(took, err), "%s, %v", took, err)
			line.Heal()
			_, err = ask(line.Address())
			require.NoError(t, err)
		})
	}
}
