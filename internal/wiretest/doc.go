// Package wiretest reads testdata/wire: exchanges with the vendors' systems,
// written by hand from their documentation, one request and one answer a file.
//
// Both sides use it, in tests only. A connector's test plays the vendor: it
// checks what the connector sends (CheckRequest) and gives the noted answer
// (Answer). A stand-in's test plays the client: it sends the noted request
// (NewRequest) and checks what comes back (CheckResponse). So a misreading of
// the documents cannot pass on both sides unseen.
//
// Within one directory the exchanges form one story in the order of their names,
// beginning with freshly seeded data. The package imports the standard library
// only; Exchange describes the format of a file.
package wiretest
