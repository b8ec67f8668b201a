// Package sheet reads lists of rows out of JSON answers without a map a row: it
// walks the bytes once and gives the cells of the columns asked for, in the order
// asked for. What is not asked for is checked and passed over.
//
// Connectors that implement connector.Extractor call it, with the shape of their
// vendor's lists: a Plan says where the list stands (value, items, d.results),
// which columns are wanted, and what of the members beside the list. Forms turn
// the values of older protocols into what cells hold: "52.65" into a number,
// /Date(…)/ into a date or a timestamp. It does no I/O and knows no vendor.
//
// Invariants: it takes exactly what strictjson takes (a key given twice, text that
// is not UTF-8, an answer cut off are faults, also in what is passed over) and
// gives each value digit by digit as it stood; a value that its form does not fit
// stays as it is, for whoever checks rows to refuse; cells point into the answer.
// It imports connector, fault and strictjson.
package sheet
