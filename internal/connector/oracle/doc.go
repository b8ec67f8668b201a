// Package oracle reads Oracle Fusion Cloud SCM over its REST resources
// (fscmRestApi), always under framework version 4.
//
// App builds it through the registry; flows see it as a connector.PageReader and an
// Extractor, doctor as a Prober, `check --online` as a Describer. It imports
// connector, connector/sheet and fault.
//
// Invariants: only selected columns leave it, also where Oracle sends more
// (promise 5); a list, of rows or of children, is complete or the read fails;
// pages follow the order of a unique key; a missing attribute is nil, because
// this protocol leaves null out. The lines of a flexfield (ItemEffCategory and
// its contexts) are flattened: each is one child row with its CategoryCode.
package oracle
