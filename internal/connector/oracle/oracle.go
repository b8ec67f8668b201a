package oracle

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"patchbay/internal/connector"
)

// System is the connector's name in connections.yaml.
const System = "oracle"

const (
	defaultVersion = "11.13.18.05"
	defaultLimit   = 200
	maxLimit       = 499 // some resources refuse 500
)

// Oracle is one connection; safe for concurrent use.
type Oracle struct {
	transport *connector.Transport
	config    connector.Config
	root      string // path of the resources, with both slashes
	// references are, by table, the columns by which rows are looked up before they are
	// created.
	references map[string]string
}

var (
	_ connector.PageReader  = (*Oracle)(nil)
	_ connector.Extractor   = (*Oracle)(nil)
	_ connector.KeyReader   = (*Oracle)(nil)
	_ connector.Upserter    = (*Oracle)(nil)
	_ connector.Conditional = (*Oracle)(nil)
	_ connector.Describer   = (*Oracle)(nil)
	_ connector.Prober      = (*Oracle)(nil)
	_ connector.Expeditor   = (*Oracle)(nil)

	_ connector.DocumentReader  = (*Oracle)(nil)
	_ connector.DocumentWriter  = (*Oracle)(nil)
	_ connector.DocumentRemover = (*Oracle)(nil)
)

// New makes the connector of one connection. Options: version of the resources
// (default 11.13.18.05); order_by, in place of the order of the table's first
// key, for example "ItemId:asc"; token_auth "header" for identity domains that
// want the client in a Basic header; reference, the columns TABLE.COLUMN by which
// rows are written.
//
// Table.Expand gives the wire form of an expand path, for example ItemEffCategory
// → "ItemEffCategory.ItemEFFBTechnicalSpecifications_Private"; several contexts
// are separated by commas.
func New(c connector.Config, d connector.Deps) (*Oracle, error) {
	t, err := connector.NewTransport(c, d, connector.Vendor{
		System: System,
		Header: http.Header{
			"REST-Framework-Version": {"4"},
			"Accept":                 {"application/json"},
		},
		Verdict: verdict,
	})
	if err != nil {
		return nil, err
	}
	version := c.Options["version"]
	if version == "" {
		version = defaultVersion
	}
	references, err := c.References()
	if err != nil {
		return nil, err
	}
	return &Oracle{transport: t, config: c, root: "/fscmRestApi/resources/" + version + "/", references: references}, nil
}

// Build is New as the registry wants it.
func Build(c connector.Config, d connector.Deps) (any, error) { return New(c, d) }

// Urgent implements connector.Expeditor.
func (o *Oracle) Urgent() any {
	u := *o
	u.transport = o.transport.Urgent()
	return &u
}

// Probe asks for the description of one resource, which needs valid credentials
// and touches no data.
func (o *Oracle) Probe(ctx context.Context) error {
	target := o.root + "describe"
	if names := slices.Sorted(maps.Keys(o.config.Tables)); len(names) > 0 {
		resource, _, _ := strings.Cut(o.config.Tables[names[0]].Path, "/child/") // what is below one describes itself with it
		target = o.root + resource + "/describe"
	}
	var description map[string]any
	_, err := o.transport.Do(ctx, connector.Request{Method: http.MethodGet, Target: target, Collection: true}, &description)
	return err
}

var (
	safeCode = regexp.MustCompile(`^[A-Za-z0-9_-]{1,24}$`)
	safePath = regexp.MustCompile(`^[A-Za-z_/]{1,80}$`) // attribute names; no row's key has only letters
)

// verdict adds Oracle's own error code and the attribute it is about. The
// message stays out: it may quote values.
func verdict(_ int, h http.Header, body []byte) connector.Verdict {
	var said struct {
		Details []struct {
			Code string `json:"o:errorCode"`
			Path string `json:"o:errorPath"`
		} `json:"o:errorDetails"`
	}
	if !strings.Contains(h.Get("Content-Type"), "json") || json.Unmarshal(body, &said) != nil || len(said.Details) == 0 {
		return connector.Verdict{} // text of older versions, a page, or nothing at all
	}
	var v connector.Verdict
	first := said.Details[0]
	if safeCode.MatchString(first.Code) {
		v.Detail = first.Code
	}
	if safePath.MatchString(first.Path) {
		v.Detail = strings.TrimSpace(v.Detail + " at " + first.Path)
	}
	return v
}
