package seed

import (
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"time"

	"patchbay/internal/sandbox/storage"
)

// documentBlock keeps the IDs of documents apart from others.
const documentBlock = 0xd0

// AccountNumber is the number of the n-th customer, from 1 on: every system knows
// the customer by it.
func AccountNumber(n int) string { return fmt.Sprintf("ACC-%05d", n) }

// Documents are the documents of IBM's object store, by column: of each customer a
// contract and what was checked of it, some letters, and a few invoices. Every fifth
// contract has an older version.
func Documents(seed uint64) iter.Seq[storage.Row] {
	return func(yield func(storage.Row) bool) {
		r := rand.New(rand.NewPCG(seed, documentBlock))
		n := 0
		give := func(at time.Time, title, kind string, of storage.Row) bool {
			n++
			text := fmt.Sprintf("%s\n%s of %s, %s\n", title, kind, of["CustomerNumber"], at.Format(time.DateOnly))
			row := storage.Row{"Id": document(n), "VersionSeries": document(0x100000 + n), "updateSequenceNumber": int64(1), "DocumentTitle": title, "DocumentType": kind,
				"MimeType": "text/plain", "Creator": "Archive", "Owner": "Archive", "LastModifier": "Archive", "DateCreated": at, "DateLastModified": at, "DateCheckedIn": at,
				"ContentSize": number("%d", len(text)), "content": []byte(text), "retrievalName": title + ".txt",
				"MajorVersionNumber": int64(1), "MinorVersionNumber": int64(0), "VersionStatus": int64(1), "IsCurrentVersion": true, "IsReserved": false}
			maps.Copy(row, of)
			return yield(row)
		}
		for i := 1; i <= accounts; i++ {
			customer, made := AccountNumber(i), epoch.AddDate(-2, 0, -r.IntN(700))
			papers := func(kind string, from time.Time) storage.Row {
				return storage.Row{"className": "CustomerDocument", "CustomerNumber": customer, "DocumentType": kind, "ValidFrom": from, "ValidTo": from.AddDate(3, 0, 0), "SourceSystem": "CRM"}
			}
			contract := papers("CONTRACT", made)
			if i%5 == 0 {
				old := papers("CONTRACT", made.AddDate(-3, 0, 0))
				maps.Copy(old, storage.Row{"VersionSeries": document(0x200000 + i), "VersionStatus": int64(4), "IsCurrentVersion": false})
				maps.Copy(contract, storage.Row{"VersionSeries": document(0x200000 + i), "MajorVersionNumber": int64(2)})
				if !give(made.AddDate(-3, 0, 0), "Frame contract "+customer, "CONTRACT", old) {
					return
				}
			}
			if !give(made, "Frame contract "+customer, "CONTRACT", contract) || !give(made.AddDate(0, 0, 9), "Customer check "+customer, "KYC", papers("KYC", made.AddDate(0, 0, 9))) {
				return
			}
			for range r.IntN(3) {
				at := epoch.Add(-time.Duration(r.IntN(300*24*60)) * time.Minute)
				kind := pick(r, []string{"LETTER", "LETTER", "CLAIM"})
				if !give(at, pick(r, titles)+" "+customer, kind, papers(kind, at)) {
					return
				}
			}
			for range 2 + r.IntN(5) {
				at := epoch.Add(-time.Duration(r.IntN(300*24*60)) * time.Minute)
				kind := pick(r, []string{"INVOICE", "INVOICE", "INVOICE", "CREDIT_MEMO", "DUNNING"})
				no := fmt.Sprintf("%d", 90_000_000+n)
				if !give(at, "INV-"+no, kind, storage.Row{"className": "FinancialDocument", "CustomerNumber": customer, "DocumentType": kind, "CompanyCode": "1010",
					"FiscalYear": int64(at.Year()), "DocumentNumber": no, "Amount": json.Number(fmt.Sprintf("%d.%d5", 100+r.IntN(50_000), r.IntN(10))), "Currency": "EUR",
					"PostingDate": time.Date(at.Year(), at.Month(), at.Day(), 0, 0, 0, 0, time.UTC)}) {
					return
				}
			}
		}
	}
}

// document is the n-th ID of the object store.
func document(n int) string {
	return fmt.Sprintf("{%04X%04X-5EED-4000-8000-%012X}", documentBlock, n>>16, n)
}
