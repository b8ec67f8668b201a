package check_test

import (
	"fmt"
	"strings"
	"testing"
)

// The lines of account-sync that are edited.
const (
	accountLine  = "  account: { key: [accountnumber], allow: [name, telephone1, emailaddress1] }\n"
	contactLine  = "  contact: { key: [msx_contactnumber], allow: [fullname, emailaddress1, parentcustomerid] }\n"
	orderLine    = "  salesorder: { key: [ordernumber], allow: [customerid, totalamount, statuscode] }\n"
	shipmentLine = "  msx_shipment: { key: [msx_shipmentnumber], allow: [salesorderid, msx_carrier, msx_eta] }\n"
)

// sync is account-sync with some lines replaced.
func sync(t *testing.T, name string, pairs ...string) edited {
	t.Helper()
	return edited{name, map[string]string{"account-sync.yaml": change(t, exampleText(t, "account-sync.yaml"), pairs...)}}
}

// leakingSyncs let a restricted column cross by the synchronization itself.
func leakingSyncs(t *testing.T) []edited {
	t.Helper()
	var out []edited
	for _, s := range places(true)[:2] {
		line := map[string]string{"account": accountLine, "contact": contactLine}[s.table]
		for _, entry := range []string{
			"X", "X: {}", "X: { backfill: true }", `X: { open: { by: "A. Weber" } }`, `X: { backfill: true, open: { by: "A. Weber" } }`, "X: { refers: account }",
		} {
			entry = strings.ReplaceAll(entry, "X", s.column)
			if strings.Contains(entry, ":") {
				entry = "{ " + entry + " }"
			}
			out = append(out, sync(t, "allowed last: "+entry, line, strings.Replace(line, "] }", ", "+entry+"] }", 1)),
				sync(t, "allowed first: "+entry, line, strings.Replace(line, "allow: [", "allow: ["+entry+", ", 1)))
		}
		out = append(out,
			sync(t, "as the key: "+s.column, line, strings.Replace(line, "["+s.key+"]", "["+s.column+"]", 1)),
			sync(t, "as part of the key: "+s.column, line, strings.Replace(line, "["+s.key+"]", "["+s.key+", "+s.column+"]", 1)),
			sync(t, "as the clock: "+s.column, line, strings.Replace(line, "key:", "clock: "+s.column+", key:", 1)),
			sync(t, "allowed, and no longer restricted by the flow: "+s.column, line, strings.Replace(line, "] }", ", "+s.column+"] }", 1),
				"restricted: [account.msx_diagnosis, contact.msx_patientid]", "restricted: []"),
			edited{"allowed, and no longer restricted by connections.yaml: " + s.column, map[string]string{
				"account-sync.yaml": change(t, exampleText(t, "account-sync.yaml"), line, strings.Replace(line, "] }", ", "+s.column+"] }", 1)),
				"connections.yaml":  strings.NewReplacer("restricted: [msx_diagnosis]", "restricted: []", "restricted: [msx_patientid]", "restricted: []").Replace(exampleText(t, "connections.yaml")),
			}},
		)
		for _, pattern := range []string{`"*"`, `"msx_*"`, `".*"`, `"^msx_"`} {
			out = append(out, sync(t, "by a pattern: "+s.table+" "+pattern, line, strings.Replace(line, "] }", ", "+pattern+"] }", 1)))
		}
	}
	// Another flow copies the value to a column that crosses.
	for _, s := range places(true) {
		e := edited{"by way of a copy in " + s.region + ": " + s.column, copied(t, s, "dataverse-"+s.region+".account", "accountnumber", "telephone1")}
		if s.table == "account" {
			e.dir = copied(t, s, "dataverse-"+s.region+".contact", "msx_contactnumber", "fullname")
		}
		out = append(out, e)
	}
	return out
}

// harmlessSyncs edit what does not widen what crosses, or widen it by what may.
func harmlessSyncs(t *testing.T) []edited {
	t.Helper()
	out := []edited{
		sync(t, "no shipments", shipmentLine, ""),
		sync(t, "free text that somebody opened", "name, telephone1, emailaddress1", `name, telephone1, emailaddress1, { description: { open: { by: "A. Weber" } } }`),
		sync(t, "free text that somebody opened, first", "name, telephone1, emailaddress1", `{ description: { open: { by: "A. Weber" } } }, name, telephone1, emailaddress1`),
		sync(t, "a lookup that the flow declares", "parentcustomerid", "{ parentcustomerid: { refers: account } }"),
		sync(t, "one more restricted column", "contact.msx_patientid]", "contact.msx_patientid, account.description]"),
		sync(t, "nothing restricted by the flow, which connections.yaml does", "[account.msx_diagnosis, contact.msx_patientid]", "[]"),
		sync(t, "a clock", "{ key: [msx_shipmentnumber], allow: [salesorderid, msx_carrier, msx_eta] }", "{ key: [msx_shipmentnumber], clock: msx_eta, allow: [salesorderid, msx_carrier] }"),
		sync(t, "no conflict section", "conflict: { default: latest, account.telephone1: hold }\n", ""),
		sync(t, "no lag", "expect: { lag: 30s }", ""),
		sync(t, "contacts before orders", orderLine+shipmentLine, "", contactLine, orderLine+shipmentLine+contactLine),
	}
	for _, column := range []string{"fullname", "totalamount", "statuscode", "msx_carrier", "msx_eta", "parentcustomerid"} {
		out = append(out, sync(t, "backfill of "+column, column, "{ "+column+": { backfill: true } }"))
	}
	for _, column := range []string{"name, ", "telephone1, ", ", parentcustomerid", ", statuscode", ", totalamount", ", msx_eta"} {
		edit := []string{column, ""}
		if column == "telephone1, " {
			edit = append(edit, ", account.telephone1: hold", "")
		}
		out = append(out, sync(t, "without"+column, edit...))
	}
	for _, order := range []string{"name, emailaddress1, telephone1", "telephone1, name, emailaddress1", "emailaddress1, telephone1, name"} {
		out = append(out, sync(t, "in the order "+order, "name, telephone1, emailaddress1", order))
	}
	for _, rule := range []string{"hold", "{ region: de }", "{ region: fr }", `"region: ch"`} {
		out = append(out, sync(t, "conflicts by "+rule, "default: latest", "default: "+rule))
	}
	for _, line := range []string{"skew: 10s", "skew: 5m", "reconcile: 1m", "reconcile: 0s", "max_row: 4096"} {
		out = append(out, sync(t, line, "expect: {", line+"\nexpect: {"))
	}
	for _, region := range []string{"de: dataverse-de, ", "fr: dataverse-fr, ", ", ch: dataverse-ch"} {
		out = append(out, sync(t, "without "+region, region, ""))
	}
	return out
}

// withinRegions use what is restricted where it may be used.
func withinRegions(t *testing.T) []edited {
	t.Helper()
	var out []edited
	for _, s := range places(true) {
		to, key, column := "contact", "msx_contactnumber", "msx_patientid"
		if s.table == "contact" {
			to, key, column = "account", "accountnumber", "description"
		}
		out = append(out, edited{"a copy within " + s.region + ": " + s.column, copied(t, s, "dataverse-"+s.region+"."+to, key, column)})
		mail := toldBy("{{.Row.X}}")(t, s)
		mail["connections.yaml"] = change(t, exampleText(t, "connections.yaml"), "  mail:\n    system: smtp\n", fmt.Sprintf("  mail:\n    system: smtp\n    region: %s\n", s.region))
		out = append(out, edited{"a mail within " + s.region + ": " + s.column, mail})
	}
	return out
}
