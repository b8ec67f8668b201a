// Package wiretest reads testdata/wire: exchanges with the vendors' systems,
// written by hand from their documentation, one request and one answer a file.
//
// Both sides use it, in tests only. A connector's test plays the vendor: it
// checks what the connector sends (CheckRequest) and gives the noted answer
// (Answer). A stand-in's test plays the client: it sends the noted request
// (NewRequest) and checks what comes back (CheckResponse). So a misreading of
// the documents cannot pass on both sides unseen.
//
// A file is: comment lines that name the source, the request, a line "---", the
// answer. A comment "# fault: {…}" says which fault a stand-in needs before it
// gives this answer. Within one directory the exchanges form one story in the
// order of their names, beginning with freshly seeded data.
//
// Matching is exact except where a placeholder stands:
//
//	<any EXAMPLE>       anything; EXAMPLE is what Answer sends, JSON where it parses
//	<let NAME EXAMPLE>  any text, kept in Vars under NAME for later exchanges
//	<NAME>              the value of a variable: base, token, or what a let kept
//	"<more>": true      the object may have further members
//	"<more>"            as last element: the array may have further elements
//
// Headers that a file does not name are not compared; queries and forms compare
// decoded and without order. The package imports the standard library only.
package wiretest
