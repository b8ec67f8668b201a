package dataverse

import (
	"context"
	"net/http"
	"strconv"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// System is the connector's name in connections.yaml.
const System = "dataverse"

const (
	defaultVersion = "v9.2"
	defaultTag     = "patchbay"
	defaultBulk    = 200
	maxBulk        = 1000
	defaultPage    = 1000
	maxPage        = 5000
)

// Dataverse is one connection to one environment; safe for concurrent use.
type Dataverse struct {
	transport *connector.Transport
	config    connector.Config
	root      string // path of the Web API, with both slashes
	tag       string // query of a write, with its "?"; may be empty
	bulk      int
}

var (
	_ connector.PageReader  = (*Dataverse)(nil)
	_ connector.KeyReader   = (*Dataverse)(nil)
	_ connector.Upserter    = (*Dataverse)(nil)
	_ connector.Conditional = (*Dataverse)(nil)
	_ connector.Prober      = (*Dataverse)(nil)
)

// New makes the connector of one connection.
func New(c connector.Config, d connector.Deps) (*Dataverse, error) {
	t, err := connector.NewTransport(c, d, connector.Vendor{
		System: System,
		Header: http.Header{
			"Accept":           {"application/json"},
			"OData-MaxVersion": {"4.0"},
			"OData-Version":    {"4.0"},
		},
		Verdict: verdict,
	})
	if err != nil {
		return nil, err
	}
	v := &Dataverse{transport: t, config: c, bulk: defaultBulk}
	version := c.Options["api_version"]
	if version == "" {
		version = defaultVersion
	}
	v.root = "/api/data/" + version + "/"
	tag, ok := c.Options["tag"]
	if !ok {
		tag = defaultTag
	}
	if tag != "" {
		v.tag = "?tag=" + connector.EscapeQuery(tag)
	}
	if bulk := c.Options["bulk"]; bulk != "" {
		if v.bulk, err = strconv.Atoi(bulk); err != nil || v.bulk < 1 || v.bulk > maxBulk {
			return nil, fault.Invalidf("connector.option", "connection %s: option bulk is a number from 1 to %d", c.Name, maxBulk)
		}
	}
	return v, nil
}

// Build is New as the registry wants it.
func Build(c connector.Config, d connector.Deps) (any, error) { return New(c, d) }

// Conditional is true: a write goes to the address of its alternate key.
func (v *Dataverse) Conditional() bool { return true }

// Probe asks who the connection's user is.
func (v *Dataverse) Probe(ctx context.Context) error {
	var who map[string]any
	_, err := v.transport.Do(ctx, connector.Request{Method: http.MethodGet, Target: v.root + "WhoAmI", Header: reading(), Collection: true}, &who)
	if err == nil && who["UserId"] == nil {
		err = v.transport.Malformed("there is no user")
	}
	return err
}

// reading returns the headers of a read: If-None-Match with the text null keeps
// caches out, and stays away from writes, where the header has a meaning.
func reading() http.Header { return http.Header{"If-None-Match": {"null"}} }

func writing() http.Header { return http.Header{"Content-Type": {"application/json"}} }
