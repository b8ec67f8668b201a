package ibm

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/graph-gophers/graphql-go"

	"patchbay/internal/sandbox/storage"
)

const (
	defaultPage = 50
	maxPage     = 1000
)

type (
	// resolver answers the fields of Query and Mutation.
	resolver struct{}

	// set is a page of documents.
	set struct {
		documents []*document
		token     *string
		total     *int32
	}

	pageInfo struct{ of *set }

	apiInfo struct{ repository string }
	cpeInfo struct{ user, url, repository string }
)

// at says whose object store an argument names.
func at(name string) error {
	if !strings.EqualFold(name, repository) {
		return missing("object store " + name)
	}
	return nil
}

func (*resolver) APIInfo(ctx context.Context, args struct{ RepositoryIdentifier *string }) (*apiInfo, error) {
	if args.RepositoryIdentifier == nil {
		return &apiInfo{}, nil
	}
	return &apiInfo{*args.RepositoryIdentifier}, at(*args.RepositoryIdentifier)
}

func (*apiInfo) BuildDate() string             { return "November 02, 2025" }
func (*apiInfo) BuildNumber() string           { return "sandbox" }
func (*apiInfo) ImplementationTitle() string   { return "Content Services GraphQL API" }
func (*apiInfo) ImplementationVersion() string { return "20251102-sandbox" }
func (*apiInfo) ProductVersion() string        { return "5.6.0" }
func (a *apiInfo) CpeInfo(ctx context.Context) *cpeInfo {
	if a.repository == "" {
		return nil
	}
	c := under(ctx).call
	return &cpeInfo{c.User.ClientID, c.Base, repository}
}
func (*cpeInfo) CpeBuildNumber() string   { return "sandbox" }
func (*cpeInfo) CpeDomainVersion() string { return "5.6.0" }
func (*cpeInfo) CpeSchemaVersion() string { return "5.6.0" }
func (c *cpeInfo) CpeURL() string         { return c.url }
func (c *cpeInfo) CpeUser() string        { return c.user }
func (c *cpeInfo) RepositoryName() string { return c.repository }

func (*resolver) Documents(ctx context.Context, args struct {
	From, Options, OrderBy *string
	PageSize               *int32
	RepositoryIdentifier   string
	Where                  *string
}) (*set, error) {
	x := search{Repository: args.RepositoryIdentifier, From: given(args.From), Where: given(args.Where), Order: given(args.OrderBy), Options: given(args.Options), Size: defaultPage}
	if args.PageSize != nil {
		if *args.PageSize < 1 {
			return nil, refused("The page size %d is not valid.", *args.PageSize)
		}
		x.Size = min(int(*args.PageSize), maxPage)
	}
	return under(ctx).search(ctx, x)
}

func (*resolver) MoreDocuments(ctx context.Context, args struct{ Token string }) (*set, error) {
	r := under(ctx)
	x, err := r.system.searchOf(args.Token, r.call.At, r.call.Expired)
	if err != nil {
		return nil, err
	}
	return r.search(ctx, x)
}

func given(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// search answers one page.
func (r *request) search(ctx context.Context, x search) (*set, error) {
	if err := at(x.Repository); err != nil {
		return nil, err
	}
	class, alias, err := readFrom(x.From)
	if err != nil {
		return nil, err
	}
	where, err := readWhere(class, alias, x.Where)
	if err != nil {
		return nil, err
	}
	order, err := readOrder(class, alias, x.Order)
	if err != nil {
		return nil, err
	}
	all := storage.And{class.rows()}
	if where != nil {
		all = append(all, where)
	}
	if !r.call.User.Roles { // a search finds what the user may see
		all = append(all, storage.Or{})
	}
	total, err := r.count(ctx, x.Options, all)
	if err != nil {
		return nil, err
	}
	if len(x.After) == len(order) {
		all = append(all, after(order, placed(order, x.After)))
	}
	rows, err := r.tx.Find(ctx, documents, storage.Query{Where: all, Order: order, Limit: x.Size + 1, Omit: []string{content}})
	if err != nil {
		return nil, r.fail(fmt.Errorf("searching documents: %w", err))
	}
	page := &set{total: total}
	if len(rows) > x.Size {
		rows = rows[:x.Size]
		x.After = place(order, rows[x.Size-1])
		page.token = r.system.token(x, r.call.At)
	}
	for _, row := range rows {
		page.documents = append(page.documents, &document{r, row})
	}
	return page, nil
}

var countLimit = regexp.MustCompile(`(?i)\bCOUNT_LIMIT\s+([0-9]{1,9})\b`)

// count is the total that the options ask for; above the limit it is negative.
func (r *request) count(ctx context.Context, options string, where storage.Expr) (*int32, error) {
	found := countLimit.FindStringSubmatch(options)
	if found == nil {
		return nil, nil
	}
	limit, err := strconv.ParseInt(found[1], 10, 32)
	if err != nil {
		return nil, refused("The count limit %s is not valid.", found[1])
	}
	n, err := r.tx.Count(ctx, documents, where)
	if err != nil {
		return nil, r.fail(fmt.Errorf("counting documents: %w", err))
	}
	total := int32(n)
	if int64(n) > limit {
		total = -int32(limit)
	}
	return &total, nil
}

func (s *set) Documents() []*document { return s.documents }
func (s *set) PageInfo() pageInfo     { return pageInfo{s} }
func (p pageInfo) Token() *string     { return p.of.token }
func (p pageInfo) TotalCount() *int32 { return p.of.total }

func (*resolver) Document(ctx context.Context, args struct{ Identifier, RepositoryIdentifier string }) (*document, error) {
	if err := at(args.RepositoryIdentifier); err != nil {
		return nil, err
	}
	return under(ctx).byID(ctx, args.Identifier, false)
}

// byID reads a document; one that is missing or not to be seen is not found.
func (r *request) byID(ctx context.Context, id string, lock bool) (*document, error) {
	id = strings.ToUpper(id)
	row, err := storage.First(ctx, r.tx, documents, storage.Compare{Column: "Id", Op: storage.Eq, Value: id}, lock)
	if err != nil {
		return nil, r.fail(fmt.Errorf("reading a document: %w", err))
	}
	if row == nil || !r.call.User.Roles {
		return nil, missing(id)
	}
	return &document{r, row}, nil
}

func (*resolver) ClassDescription(_ context.Context, args struct{ Identifier, RepositoryIdentifier string }) (*classDescription, error) {
	if err := at(args.RepositoryIdentifier); err != nil {
		return nil, err
	}
	c := find(args.Identifier)
	if c == nil {
		return nil, missing("class " + args.Identifier)
	}
	return &classDescription{c}, nil
}

type (
	classDescription    struct{ c *class }
	propertyDescription struct {
		p  property
		id string
	}
)

func (d *classDescription) AllowsInstances() *bool   { yes := true; return &yes }
func (d *classDescription) DescriptiveText() *string { return &d.c.label }
func (d *classDescription) DisplayName() string      { return d.c.label }
func (d *classDescription) Name() string             { return d.c.label }
func (d *classDescription) SymbolicName() string     { return d.c.name }
func (d *classDescription) ID() graphql.ID           { return graphql.ID(d.c.id) }
func (d *classDescription) SuperClassDescription() *classDescription {
	if d.c.parent == nil {
		return nil
	}
	return &classDescription{d.c.parent}
}

func (d *classDescription) ImmediateSubclassDescriptions() *[]*classDescription {
	list := []*classDescription{}
	for _, c := range classes {
		if c.parent == d.c {
			list = append(list, &classDescription{c})
		}
	}
	return &list
}

func (d *classDescription) PropertyDescriptions() []*propertyDescription {
	var list []*propertyDescription
	for n, p := range d.c.all() {
		list = append(list, &propertyDescription{p, fmt.Sprintf("%s%04X}", d.c.id[:33], n+1)})
	}
	return list
}

func (d *propertyDescription) Cardinality() string         { return "SINGLE" }
func (d *propertyDescription) DataType() string            { return d.p.kind }
func (d *propertyDescription) DescriptiveText() *string    { return nil }
func (d *propertyDescription) DisplayName() string         { return d.p.name }
func (d *propertyDescription) Name() string                { return d.p.name }
func (d *propertyDescription) SymbolicName() string        { return d.p.name }
func (d *propertyDescription) ID() graphql.ID              { return graphql.ID(d.id) }
func (d *propertyDescription) IsOrderable() *bool          { yes := true; return &yes }
func (d *propertyDescription) IsSearchable() *bool         { yes := true; return &yes }
func (d *propertyDescription) IsSelectable() *bool         { yes := true; return &yes }
func (d *propertyDescription) IsReadOnly() *bool           { return &d.p.owned }
func (d *propertyDescription) IsSystemOwned() *bool        { return &d.p.owned }
func (d *propertyDescription) IsValueRequired() *bool      { return &d.p.must }
func (d *propertyDescription) MaximumLengthString() *int32 { n := int32(d.p.length); return &n }

func (d *propertyDescription) ToPropertyDescriptionString() (*propertyDescription, bool) {
	return d, d.p.kind == "STRING"
}

func (d *propertyDescription) ToPropertyDescriptionType() (*propertyDescription, bool) {
	return d, d.p.kind != "STRING"
}
