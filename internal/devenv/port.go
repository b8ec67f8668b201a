package devenv

import (
	"context"
	"fmt"
	"net"
	"strconv"

	"patchbay/internal/fault"
)

// FreePorts finds n different ports on 127.0.0.1 that nobody listens on.
func FreePorts(ctx context.Context, n int) ([]int, error) {
	ports := make([]int, 0, n)
	for range n {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("looking for a free port: %w", err)
		}
		defer func() { _ = l.Close() }() // all stay bound until the last is found, so none comes twice
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// portFree tells whether a child could bind the port, and names the flag that
// changes it when not.
func portFree(ctx context.Context, port int, what, flag string) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address(port))
	if err != nil {
		return fault.New(fault.Conflict, "devenv.port_taken", fmt.Sprintf(
			"port %d for %s is taken; stop what listens there, or choose another with %s (0 picks a free one)", port, what, flag), err)
	}
	return l.Close()
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
