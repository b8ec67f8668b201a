// Package flows holds the example flows, the connections they use and their
// tests, as files to read and copy and as an embedded file system.
//
// `patchbay dev` applies them where no directory of one's own is named; tests
// of other packages compile them, so an example that stops working is noticed.
//
// Invariant: every file here passes `patchbay check --strict --test`.
package flows

import "embed"

// Files holds connections.yaml, NAME.yaml, NAME_test.yaml and the templates of
// messages, without folders.
//
//go:embed *.yaml *.html
var Files embed.FS
