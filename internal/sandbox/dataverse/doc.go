// Package dataverse is the stand-in for one Dataverse environment: the Web API
// v9.2 over tables that are described as Go data, so that another table or
// another environment is more data and no more code.
//
// The exchange calls it; the sandbox seeds its tables. It reads what Microsoft
// documents, not only what one client sends, and shares no code with any
// client. Service protection limits hold per user as documented, their windows
// divided by the sandbox's speed.
//
// Invariants: names of a request become column names through the table
// definitions only, values are bound; every write takes a new number from the
// one version counter, which is the ETag; a bulk action or a change set applies
// whole or not at all.
//
// It imports storage, exchange, login and ordered.
package dataverse
