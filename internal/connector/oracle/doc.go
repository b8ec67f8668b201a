// Package oracle reads Oracle Fusion Cloud SCM over its REST resources
// (fscmRestApi), always under framework version 4.
//
// App builds it through the registry; flows see it as a connector.PageReader and
// doctor as a connector.Prober. It imports connector and fault.
//
// Reads: the where clause becomes q in rowmatch form; without children, fields
// asks the system for the selected columns alone. Oracle ignores fields beside
// expand, so with children the selection is enforced here: no other column
// leaves this package (promise 5). Pages go by offset, in the order of the
// table's first key. A missing attribute is null in this protocol, and is given
// as nil.
//
// Children: Oracle cuts an expanded child off after 25 rows and says hasMore.
// The rest is then read from the child's own address, so a list is complete or
// the read fails. The nested contexts of a flexfield row (ItemEffCategory) are
// flattened: each line is one child row with its CategoryCode. Table.Expand
// gives the wire form of a path, for example ItemEffCategory →
// "ItemEffCategory.ItemEFFBTechnicalSpecifications_Private"; several contexts
// are separated by commas.
//
// Options: version (of the resources, default 11.13.18.05), order_by (replaces
// the order of the key, for example "ItemId:asc"), token_auth ("header" for
// identity domains that want the client in a Basic header).
package oracle
