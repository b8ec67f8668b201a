// Package residency proves that what is planted in one region is in no other: it makes
// recognisable values, and finds them in whatever another region keeps or sends
// (promise 5).
//
// A value is a sentence with a token of 128 random bits behind a prefix that all values
// of one Set share. The scanner looks for that prefix in every encoding a leak might
// have (see codecs) in one pass, and decodes what it found to say which value it is. A
// prefix whose token is torn is a hit too. Compressed data is unpacked where it is met.
//
// It is a tool of tests and imports nothing of what it judges. It knows PostgreSQL's
// files and tables, Temporal's histories and visibility, files, HTTP, a line that it
// recorded itself, and the memory of processes.
//
// Invariants: a report names places, encodings and labels and never a value; the
// prefix is new in every Set, so that neither a binary nor an earlier run holds it; a
// source that could not be read whole is an error and not a source without hits.
package residency
