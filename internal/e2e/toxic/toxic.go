// Package toxic stands between two processes of a test and fails as networks do:
// a cut line, latency, resets, slices, a black hole. It wraps toxiproxy, which
// runs in the test's own process.
//
// Only tests import it. It may import toxiproxy and testify's require.
//
// Invariants: a proxy keeps its address whatever happens to the line behind it;
// Heal leaves a line as New made it, for new connections at once, and closes those
// that a fault has damaged; nothing is left when the test has ended.
package toxic

import (
	"strings"
	"testing"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
)

// Fault is what may be wrong with a line.
type Fault string

// The faults. All but Cut are toxics of toxiproxy, in JSON.
const (
	Cut       Fault = "cut" // connections are closed, and new ones refused
	Latency   Fault = `{"type": "latency", "attributes": {"latency": 2000}}`
	Reset     Fault = `{"type": "reset_peer", "attributes": {"timeout": 0}}`
	Slices    Fault = `{"type": "slicer", "attributes": {"average_size": 64, "size_variation": 32, "delay": 1000}}`
	BlackHole Fault = `{"type": "timeout", "attributes": {"timeout": 0}}` // connections stay, and nothing comes through
)

// Line is a proxy in front of one server.
type Line struct {
	t     testing.TB
	proxy *toxiproxy.Proxy
}

// New opens a line to a server, on an address of its own.
func New(t testing.TB, server string) *Line {
	t.Helper()
	api := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	l := &Line{t: t, proxy: toxiproxy.NewProxy(api, server, "127.0.0.1:0", server)}
	require.NoError(t, l.proxy.Start())
	t.Cleanup(l.proxy.Stop)
	return l
}

// Address is where the line begins.
func (l *Line) Address() string { return l.proxy.Listen }

// Fail makes the line fail, in both directions.
func (l *Line) Fail(f Fault) {
	l.t.Helper()
	if f == Cut {
		l.proxy.Stop()
		return
	}
	for _, stream := range []string{"upstream", "downstream"} {
		body := strings.Replace(string(f), "{", `{"name": "`+stream+`", "stream": "`+stream+`", `, 1)
		_, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(body))
		require.NoError(l.t, err)
	}
}

// Heal makes the line good.
func (l *Line) Heal() {
	l.t.Helper()
	l.proxy.Toxics.ResetToxics(l.t.Context())
	if !l.proxy.Enabled {
		require.NoError(l.t, l.proxy.Start())
	}
}
