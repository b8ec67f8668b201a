package httpapi_test

import (
	"context"
	"net/http"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
	"patchbay/internal/httpapi"
)

// taking is Hooks that hand on what is delivered.
type taking chan flow.Delivery

func (h taking) Receive(_ context.Context, d flow.Delivery) (flow.Receipt, error) {
	h <- d
	return flow.Receipt{}, nil
}

// The list of a source is only as good as the address that is held against it.
func TestADeliveryComesFromThePeerUnlessThatIsAProxyOfOurs(t *testing.T) {
	t.Parallel()
	loopback, inner := netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")
	for _, c := range []struct {
		name      string
		proxies   []netip.Prefix
		forwarded []string
		want      string
	}{
		{"nobody between", nil, nil, "127.0.0.1"},
		{"a sender who claims another address", nil, []string{"203.0.113.9"}, "127.0.0.1"},
		{"our proxy", []netip.Prefix{loopback}, []string{"203.0.113.9"}, "203.0.113.9"},
		{"our proxy, of a sender who claims another address", []netip.Prefix{loopback}, []string{"198.51.100.1, 203.0.113.9"}, "203.0.113.9"},
		{"the same in two headers", []netip.Prefix{loopback}, []string{"198.51.100.1", "203.0.113.9"}, "203.0.113.9"},
		{"two proxies of ours", []netip.Prefix{loopback, inner}, []string{"198.51.100.1, 203.0.113.9, 10.1.2.3"}, "203.0.113.9"},
		{"our proxy says nothing", []netip.Prefix{loopback}, nil, "127.0.0.1"},
		{"our proxy says what is no address", []netip.Prefix{loopback}, []string{"unknown"}, "127.0.0.1"},
	} {
		got := make(taking, 1)
		b := newBundle(t, func(o *httpapi.Options) {
			o.Proxies, o.Hooks = c.proxies, got
		})
		var header []string
		for _, f := range c.forwarded {
			header = append(header, "X-Forwarded-For", f)
		}
		r := b.do(http.MethodPost, "/v1/hooks/cases", `{}`, header...)
		require.Equal(t, http.StatusAccepted, r.status, "%s: %s", c.name, r.body)
		require.Equal(t, c.want, (<-got).From.String(), c.name)
	}
}
