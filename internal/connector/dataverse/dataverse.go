package dataverse

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"patchbay/internal/connector"
	"patchbay/internal/connector/hook"
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
	tag       string // origin of writes that give none; may be empty
	guard     *hook.Guard
	dateOnly  []string
	bulk      int
	// changeSets has each row of a $batch in a change set of its own.
	changeSets bool
	tables     *tables
	now        func() time.Time
}

// tables is what the connection knows of its tables, for all copies of Dataverse.
type tables struct {
	mu     sync.Mutex
	single map[string]bool // those without UpsertMultiple
	// What the metadata said of them, and when.
	schemas    map[string]schema
	identities map[string]identityList
}

var (
	_ connector.PageReader   = (*Dataverse)(nil)
	_ connector.Describer    = (*Dataverse)(nil)
	_ connector.KeyReader    = (*Dataverse)(nil)
	_ connector.Upserter     = (*Dataverse)(nil)
	_ connector.Loader       = (*Dataverse)(nil)
	_ connector.Extractor    = (*Dataverse)(nil)
	_ connector.Conditional  = (*Dataverse)(nil)
	_ connector.Prober       = (*Dataverse)(nil)
	_ connector.Expeditor    = (*Dataverse)(nil)
	_ connector.ChangeReader = (*Dataverse)(nil)
	_ connector.Receiver     = (*Dataverse)(nil)
	_ connector.Identifier   = (*Dataverse)(nil)
	_ connector.Subscriber   = (*Dataverse)(nil)
	_ connector.Versioned    = (*Dataverse)(nil)
	_ connector.Identities   = (*Dataverse)(nil)
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
	v := &Dataverse{transport: t, config: c, bulk: defaultBulk, now: d.Now,
		tables: &tables{single: map[string]bool{}, schemas: map[string]schema{}, identities: map[string]identityList{}}}
	if v.now == nil {
		v.now = time.Now
	}
	version := c.Options["api_version"]
	if version == "" {
		version = defaultVersion
	}
	v.root = "/api/data/" + version + "/"
	tag, ok := c.Options["tag"]
	if !ok {
		tag = defaultTag
	}
	v.tag = tag
	if v.guard, err = hook.New(c, d); err != nil {
		return nil, err
	}
	for name := range strings.SplitSeq(c.Options["date_only"], ",") {
		v.dateOnly = append(v.dateOnly, strings.TrimSpace(name))
	}
	for name := range strings.SplitSeq(c.Options["batch"], ",") {
		v.tables.single[strings.TrimSpace(name)] = true
	}
	switch form := c.Options["batch_form"]; form {
	case "", "single":
	case "change-sets":
		v.changeSets = true
	default:
		return nil, fault.Invalidf("connector.option", "connection %s: option batch_form is single or change-sets", c.Name)
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
func (v *Dataverse) Conditional(string, []string, bool) bool { return true }

// Urgent implements connector.Expeditor.
func (v *Dataverse) Urgent() any {
	u := *v
	u.transport = v.transport.Urgent()
	return &u
}

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

// tagged is the query of a write that marks it: origin, or what the connection
// is set to.
func (v *Dataverse) tagged(origin string) string {
	if origin == "" {
		origin = v.tag
	}
	if origin == "" {
		return ""
	}
	return "?tag=" + connector.EscapeQuery(origin)
}
