package seed

import (
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"time"

	"patchbay/internal/sandbox/storage"
)

// Applicant is somebody who applies for a loan: what they say, and what the bank and the bureau know.
// A nil figure is one that nobody has.
type Applicant struct {
	N                          int
	Kind                       string // what becomes of the application: approve, decline, refer, or what is wrong with it
	Subject, Customer, Adviser string // of the bureau, of the bank, and who advises
	Born                       time.Time
	Amount, Income, Costs      string // decimals
	Currency                   string
	Term, Employed             int // months
	Housing                    string
	Since                      time.Time // a customer
	Savings, Instalments       string
	Salary                     string // credited each month
	Known                      bool   // to the bureau
	Score                      any    // int64
	CardUse                    string
	Inquiries, Late, Loans     int64
}

const applicationBlock = 0xe0

// Applicants of each kind, in this order: forty of them.
var applicants = []struct {
	kind string
	n    int
}{
	{"approve", 12}, {"decline", 9}, {"refer", 9},
	{"missing-figures", 1}, {"contradictory", 1}, {"negative-income", 1}, {"unknown-currency", 1}, {"minor", 1},
	{"adviser-is-applicant", 1}, {"unknown-to-bureau", 1}, {"no-account", 1}, {"no-term", 1}, {"too-large", 1},
}

// Applicants are the same for everybody: their figures are chosen, not drawn.
func Applicants() []Applicant {
	var list []Applicant
	for _, group := range applicants {
		for i := range group.n {
			list = append(list, applicant(len(list)+1, i, group.kind))
		}
	}
	return list
}

func cents(n int) string { return fmt.Sprintf("%d.%02d", n/100, n%100) }

// applicant makes one. Those of no kind of their own would be approved but for what is wrong.
func applicant(n, i int, kind string) Applicant {
	a := Applicant{
		N: n, Kind: kind, Subject: fmt.Sprintf("P-%05d", 10_000+n), Customer: fmt.Sprintf("K-%05d", 70_000+n), Adviser: fmt.Sprintf("P-%05d", 90_001+n%4),
		Born:   time.Date(1960+(n*7)%35, time.Month(n%12+1), n%28+1, 0, 0, 0, 0, time.UTC),
		Amount: cents(800_000 + 50_000*i), Income: cents(420_000 + 15_050*i), Costs: cents(130_000 + 2_000*i), Currency: "EUR", Term: 48,
		Employed: 96 + 6*i, Housing: "own", Since: epoch.AddDate(-8, -i, 0), Savings: cents(2_400_000 + 130_075*i), Instalments: "0.00",
		Known: true, Score: int64(640 + 5*i), CardUse: cents(700 + 110*i),
	}
	switch kind {
	case "decline":
		a.Amount, a.Income, a.Costs, a.Term = cents(2_500_000+100_000*i), cents(165_000+2_500*i), cents(110_000), 36
		a.Employed, a.Housing, a.Since, a.Savings, a.Instalments = 3+i, "rent", epoch.AddDate(0, -2, 0), cents(5_000+i*100), cents(45_000+i*500)
		a.Score, a.CardUse, a.Inquiries, a.Late, a.Loans = int64(410+3*i), cents(9_000+50*i), 4, 2, 3
	case "refer":
		a.Amount, a.Income, a.Costs = cents(1_500_000+50_000*i), cents(270_000+5_000*i), cents(125_000)
		a.Employed, a.Housing, a.Since, a.Savings, a.Instalments = 30+i, "rent", epoch.AddDate(-1, -6, 0), cents(180_000+1_000*i), cents(15_000)
		a.Score, a.CardUse, a.Inquiries, a.Loans = int64(545+3*i), cents(5_500+100*i), 2, 1
	case "missing-figures":
		a.Score = nil
	case "contradictory":
		a.Income = "9800.00" // and the salary is another
	case "negative-income":
		a.Income = "-2500.00"
	case "unknown-currency":
		a.Currency = "XQZ"
	case "minor":
		a.Born = epoch.AddDate(-16, 0, 0)
	case "adviser-is-applicant":
		a.Adviser = a.Subject
	case "unknown-to-bureau":
		a.Known = false
	case "no-term":
		a.Term = 0
	case "too-large":
		a.Amount = "99999999999.00"
	}
	if a.Salary = a.Income; kind == "contradictory" || kind == "negative-income" {
		a.Salary = "1900.00"
	}
	return a
}

// Number is the number of the application.
func (a Applicant) Number() string { return fmt.Sprintf("LA-%05d", a.N) }

// Applications are the rows of msx_loanapplication.
func Applications(owner string) iter.Seq[storage.Row] {
	var rows []storage.Row
	for i, a := range Applicants() {
		rows = append(rows, stamp(storage.Row{
			"msx_loanapplicationid": guid(applicationBlock, a.N), "msx_applicationnumber": a.Number(), "msx_name": "Application " + a.Number(),
			"msx_subjectid": a.Subject, "msx_customernumber": a.Customer, "msx_birthdate": a.Born.Format(time.DateOnly),
			"msx_amount": json.Number(a.Amount), "msx_currency": a.Currency, "msx_termmonths": int64(a.Term), "msx_purpose": []string{"car", "kitchen", "studies"}[a.N%3],
			"msx_income": json.Number(a.Income), "msx_livingcosts": json.Number(a.Costs), "msx_employmentmonths": int64(a.Employed), "msx_housing": a.Housing,
			"msx_adviser": a.Adviser, "statecode": int64(0), "statuscode": int64(1),
		}, owner, i, true))
	}
	return slices.Values(rows)
}

// Subjects are the rows of the credit bureau.
func Subjects() iter.Seq[storage.Row] {
	var rows []storage.Row
	for _, a := range Applicants() {
		if a.Known {
			rows = append(rows, storage.Row{"subject_id": a.Subject, "score": a.Score, "open_loans": a.Loans, "monthly_instalments": json.Number(a.Instalments),
				"card_use_percent": json.Number(a.CardUse), "inquiries": a.Inquiries, "late_payments": a.Late, "currency": "EUR"})
		}
	}
	return slices.Values(rows)
}

// Bank are the rows of core banking, by the name of the table.
func Bank() map[string]iter.Seq[storage.Row] {
	rows := map[string][]storage.Row{}
	for _, a := range Applicants() {
		if a.Kind == "no-account" {
			continue
		}
		for _, kind := range []string{"current", "savings"} {
			balance := a.Savings
			if kind == "current" {
				balance = cents(40_000 + 1_113*a.N)
			}
			rows["account"] = append(rows["account"], storage.Row{"account_number": a.Customer + "-" + kind[:1], "customer_number": a.Customer,
				"kind": kind, "currency": "EUR", "balance": json.Number(balance)})
		}
		for month := range 6 {
			rows["salary_credit"] = append(rows["salary_credit"], storage.Row{"credit_id": a.Customer + "-" + strconv.Itoa(month), "customer_number": a.Customer,
				"credited_on": epoch.AddDate(0, -month, 0).Format(time.DateOnly), "amount": json.Number(a.Salary), "currency": "EUR"})
		}
		for i := range a.Loans {
			rows["loan"] = append(rows["loan"], storage.Row{"loan_number": fmt.Sprintf("%s-L%d", a.Customer, i+1), "customer_number": a.Customer,
				"outstanding": json.Number(cents(300_000 + 10_000*a.N)), "instalment": json.Number(cents(15_000)), "currency": "EUR"})
		}
		rows["customer"] = append(rows["customer"], storage.Row{"customer_number": a.Customer, "subject_id": a.Subject, "customer_since": a.Since.Format(time.DateOnly),
			"salary_monthly": json.Number(a.Salary), "savings": json.Number(a.Savings), "instalments_monthly": json.Number(a.Instalments), "currency": "EUR"})
	}
	all := map[string]iter.Seq[storage.Row]{}
	for name, list := range rows {
		all[name] = slices.Values(list)
	}
	return all
}
