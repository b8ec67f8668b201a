package seed

import (
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"time"

	"patchbay/internal/sandbox/storage"
)

// The blocks that keep the ids of tables apart.
const (
	accountBlock = iota + 0xa0
	contactBlock
	incidentBlock
	productBlock
	taskBlock
	noteBlock
	currencyBlock
)

// How many rows the tables of an environment begin with.
const (
	accounts  = 200
	contacts  = 500
	incidents = 300
	products  = 1_000
	notes     = 400
)

// Customer is one account as the other systems of the same company know it: they
// call it by the same number, and have none that is not here.
type Customer struct{ Number, Name, City, Country string }

// Accounts are the customers in the order of their numbers.
func Accounts(seed uint64) []Customer {
	list := make([]Customer, 0, accounts)
	for row := range accountRows(seed, "") {
		of := func(column string) string { text, _ := row[column].(string); return text }
		list = append(list, Customer{Number: of("accountnumber"), Name: of("name"), City: of("address1_city"), Country: of("address1_country")})
	}
	return list
}

// User is an application known to the environment.
type User struct{ ID, Name, ClientID string }

// Customers are the rows of an environment by the logical name of their table.
// msx_specification, msx_salesactionplan and msx_shipment begin empty: the example flows fill them.
func (c Catalogue) Customers(seed uint64, users []User) map[string]iter.Seq[storage.Row] {
	return map[string]iter.Seq[storage.Row]{
		"transactioncurrency": currencies(users[0].ID), "systemuser": systemUsers(users), "account": accountRows(seed, users[0].ID),
		"contact": contactRows(seed, users[0].ID), "incident": incidentRows(seed, users[0].ID), "product": c.productRows(seed, users[0].ID),
		"msx_loanapplication": Applications(users[0].ID), "task": taskRows(seed, users[0].ID), "annotation": noteRows(seed, users[0].ID),
		"salesorder": c.orderHeads(users[0].ID), "salesorderdetail": c.orderLines(seed, users[0].ID),
	}
}

// stamp adds the columns every row has; versions rise with n.
func stamp(row storage.Row, user string, n int, owned bool) storage.Row {
	at := epoch.Add(time.Duration(n) * 7 * time.Minute)
	maps.Copy(row, storage.Row{"createdon": at, "modifiedon": at, "_createdby_value": user, "_modifiedby_value": user, "versionnumber": int64(n + 1), "writes": int64(0)})
	if owned {
		row["_ownerid_value"] = user
	}
	return row
}

func count(n int, row func(i int) storage.Row) iter.Seq[storage.Row] {
	return func(yield func(storage.Row) bool) {
		for i := range n {
			if !yield(row(i)) {
				return
			}
		}
	}
}

func currencies(user string) iter.Seq[storage.Row] {
	return count(1, func(int) storage.Row {
		return stamp(storage.Row{"transactioncurrencyid": guid(currencyBlock, 1), "currencyname": "Euro", "isocurrencycode": "EUR", "currencysymbol": "€"}, user, 0, false)
	})
}

func systemUsers(users []User) iter.Seq[storage.Row] {
	return count(len(users), func(i int) storage.Row {
		u := users[i]
		return stamp(storage.Row{"systemuserid": u.ID, "fullname": u.Name, "domainname": u.ClientID + "@contoso.example", "internalemailaddress": u.ClientID + "@contoso.example", "isdisabled": false}, u.ID, i, false)
	})
}

var (
	firstNames = []string{"Anna", "Ben", "Chiara", "David", "Elif", "Felix", "Giulia", "Hanna", "Ivan", "Julia", "Karim", "Lea", "Marco", "Nora", "Oskar", "Paula", "Quentin", "Rosa", "Stefan", "Tina", "Urs", "Vera", "Wim", "Yara", "Zoé"}
	lastNames  = []string{"Albrecht", "Bianchi", "Çelik", "Dubois", "Egger", "Fischer", "Girard", "Huber", "Iseli", "Jansen", "Keller", "Lambert", "Moser", "Novák", "O'Connor", "Peeters", "Rossi", "Schmid", "Tanner", "Ulmer", "Vogel", "Weber", "Zimmermann"}
	firms      = []string{"Alpenwerk", "Nordlicht", "Rheintal", "Lombarda", "Provence", "Helvetia", "Hanse", "Danube", "Atlantique", "Jura"}
	trades     = []string{"Clinics", "Hydraulics", "Automation", "Foods", "Chemicals", "Logistics", "Laboratories", "Energy"}
	forms      = []string{"GmbH", "AG", "SA", "SpA", "SAS", "Ltd"}
	cities     = []string{"Basel", "Lyon", "München", "Milano", "Zürich", "Hamburg", "Genève", "Wien", "Rotterdam", "Torino"}
	countries  = []string{"Switzerland", "France", "Germany", "Italy", "Switzerland", "Germany", "Switzerland", "Austria", "Netherlands", "Italy"}
	titles     = []string{"Delivery is late", "Display stays dark", "Pump loses pressure", "Wrong item received", "Question about warranty", "Calibration certificate missing", "Noise above specification", "Invoice does not match", "Firmware update fails", "Spare part wanted"}
)

func accountRows(seed uint64, user string) iter.Seq[storage.Row] {
	r := rand.New(rand.NewPCG(seed, accountBlock))
	return count(accounts, func(i int) storage.Row {
		name := fmt.Sprintf("%s %s %s", firms[i%len(firms)], trades[(i/len(firms))%len(trades)], pick(r, forms))
		city := r.IntN(len(cities))
		return stamp(storage.Row{"accountid": guid(accountBlock, i+1), "name": name, "accountnumber": AccountNumber(i + 1),
			"telephone1": fmt.Sprintf("+41 61 555 %02d %02d", i/100, i%100), "emailaddress1": "info@" + slug(name) + ".example", "websiteurl": "https://" + slug(name) + ".example",
			"revenue": money(r, 100_000_000), "creditlimit": money(r, 500_000), "numberofemployees": int64(5 + r.IntN(4000)), "creditonhold": r.IntN(20) == 0,
			"customertypecode": int64(3), "industrycode": int64(1 + r.IntN(12)), "accountcategorycode": int64(1 + r.IntN(2)), "address1_city": cities[city], "address1_country": countries[city],
			"_primarycontactid_value": guid(contactBlock, 1+i%contacts), "_transactioncurrencyid_value": guid(currencyBlock, 1), "statecode": int64(0), "statuscode": int64(1)}, user, i, true)
	})
}

func contactRows(seed uint64, user string) iter.Seq[storage.Row] {
	r := rand.New(rand.NewPCG(seed, contactBlock))
	return count(contacts, func(i int) storage.Row {
		first, last := pick(r, firstNames), pick(r, lastNames)
		return stamp(storage.Row{"contactid": guid(contactBlock, i+1), "firstname": first, "lastname": last, "fullname": first + " " + last,
			"msx_contactnumber": fmt.Sprintf("CON-%05d", i+1), "emailaddress1": fmt.Sprintf("%s.%s%d@customer.example", slug(first), slug(last), i+1), "jobtitle": pick(r, []string{"Buyer", "Head of maintenance", "Physician", "Plant engineer", "Quality manager"}),
			"telephone1": fmt.Sprintf("+49 89 555 %04d", i), "gendercode": int64(1 + r.IntN(2)), "preferredcontactmethodcode": int64(1 + r.IntN(3)),
			"_parentcustomerid_value": guid(accountBlock, 1+i%accounts), "_parentcustomerid_type": "account", "statecode": int64(0), "statuscode": int64(1)}, user, 1000+i, true)
	})
}

func incidentRows(seed uint64, user string) iter.Seq[storage.Row] {
	addresses := make([]any, 0, contacts) // of the contacts, whom a case is about
	for contact := range contactRows(seed, user) {
		addresses = append(addresses, contact["emailaddress1"])
	}
	r := rand.New(rand.NewPCG(seed, incidentBlock))
	return count(incidents, func(i int) storage.Row {
		return stamp(storage.Row{"incidentid": guid(incidentBlock, i+1), "title": pick(r, titles), "ticketnumber": fmt.Sprintf("CAS-%05d-SEED", i+1),
			"description": "Reported by the customer.", "_customerid_value": guid(accountBlock, 1+i%accounts), "_customerid_type": "account", "_primarycontactid_value": guid(contactBlock, 1+i%contacts),
			"_productid_value": guid(productBlock, 1+r.IntN(products)), "prioritycode": int64(1 + r.IntN(3)), "caseorigincode": int64(1 + r.IntN(3)), "casetypecode": int64(1 + r.IntN(3)), "severitycode": int64(1),
			"isescalated": r.IntN(30) == 0, "msx_customerfacing": i%2 == 0, "customer_email": addresses[i%contacts], "statecode": int64(0), "statuscode": int64(1 + r.IntN(4))}, user, 2000+i, true)
	})
}

func (c Catalogue) productRows(seed uint64, user string) iter.Seq[storage.Row] {
	r := rand.New(rand.NewPCG(seed, productBlock))
	return count(min(products, len(c)), func(i int) storage.Row {
		p := c[i]
		return stamp(storage.Row{"productid": guid(productBlock, i+1), "name": p.Name, "productnumber": p.Number, "price": money(r, 20_000), "standardcost": money(r, 9_000),
			"quantityonhand": number("%d", r.IntN(400)), "productstructure": int64(1), "producttypecode": int64(1), "_transactioncurrencyid_value": guid(currencyBlock, 1),
			"statecode": int64(0), "statuscode": int64(1)}, user, 3000+i, false)
	})
}

func taskRows(seed uint64, user string) iter.Seq[storage.Row] {
	r := rand.New(rand.NewPCG(seed, taskBlock))
	return count(100, func(i int) storage.Row {
		return stamp(storage.Row{"activityid": guid(taskBlock, i+1), "subject": "Call back about: " + pick(r, titles), "scheduledend": epoch.AddDate(0, 4, i%28), "percentcomplete": int64(0), "prioritycode": int64(r.IntN(3)),
			"_regardingobjectid_value": guid(incidentBlock, 1+i%incidents), "_regardingobjectid_type": "incident", "statecode": int64(0), "statuscode": int64(2)}, user, 5000+i, true)
	})
}

func noteRows(seed uint64, user string) iter.Seq[storage.Row] {
	r := rand.New(rand.NewPCG(seed, noteBlock))
	texts := []string{"Customer called again.", "Replacement sent.", "Waiting for the supplier's answer.", "Measured on site; the values are within tolerance."}
	return count(notes, func(i int) storage.Row {
		return stamp(storage.Row{"annotationid": guid(noteBlock, i+1), "subject": "Note", "notetext": pick(r, texts), "isdocument": false, "filesize": int64(0),
			"_objectid_value": guid(incidentBlock, 1+i%incidents), "_objectid_type": "incident", "objecttypecode": "incident"}, user, 6000+i, true)
	})
}

// Versions is above every version number that a seeded row has.
const Versions = 20_000
