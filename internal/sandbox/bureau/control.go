package bureau

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"patchbay/internal/sandbox/storage"
)

// ErrControl marks what a person asked for and cannot have; its text is for them.
var ErrControl = errors.New("it cannot be done")

// bends are the ways in which a rule makes the bureau answer wrongly.
var bends = []string{"other-subject", "missing", "malformed", "contradictory", "unknown-currency"}

// Paid is an inquiry as the judge of a test sees it.
type Paid struct {
	Reference string    `json:"reference"`
	Subject   string    `json:"subject_id"`
	Purpose   string    `json:"purpose"`
	At        time.Time `json:"at"`
	Day       string    `json:"day"`
	Price     string    `json:"price"`
	Currency  string    `json:"currency"`
	Times     int64     `json:"times"` // how often it was asked; charged once
	By        string    `json:"by"`
}

// Seed makes the persons, where there are none.
func Seed(ctx context.Context, tx storage.Tx, rows iter.Seq[storage.Row]) error {
	n, err := tx.Count(ctx, subjects, nil)
	if err != nil || n > 0 {
		return err
	}
	return tx.Load(ctx, subjects, rows)
}

// Inquiries lists what was charged, oldest first: of all persons, or of one.
func Inquiries(ctx context.Context, store storage.Store, subject string) ([]Paid, error) {
	list := []Paid{}
	err := store.Read(ctx, func(tx storage.Tx) error {
		q := storage.Query{Order: []storage.Order{{Column: "at"}}}
		if subject != "" {
			q.Where = is("subject_id", subject)
		}
		rows, err := tx.Find(ctx, inquiries, q)
		for _, row := range rows {
			at, _ := row["at"].(time.Time)
			list = append(list, Paid{Reference: text(row, "reference"), Subject: text(row, "subject_id"), Purpose: text(row, "purpose"), At: at, Day: text(row, "day"),
				Price: money(number(row, "cents")), Currency: "EUR", Times: number(row, "times"), By: text(row, "owner")})
		}
		return err
	})
	return list, err
}

// Bend makes the bureau answer wrongly about a person, * are all; an empty rule ends that.
func Bend(ctx context.Context, store storage.Store, subject, rule string) error {
	if rule != "" && !slices.Contains(bends, rule) {
		return fmt.Errorf(`%w: give {"answer": "…"}, one of %s`, ErrControl, strings.Join(bends, ", "))
	}
	return keep(ctx, store, subject, storage.Row{"subject_id": subject, "answer": rule}, rule == "")
}

var amounts = regexp.MustCompile(`^\d{1,9}\.\d\d$`)

// Allow sets what a day may cost, such as 10.00; an empty amount brings back what it was.
func Allow(ctx context.Context, store storage.Store, amount string) error {
	if amount != "" && !amounts.MatchString(amount) {
		return fmt.Errorf(`%w: give {"per_day": "10.00"}`, ErrControl)
	}
	cents, _ := strconv.ParseInt(strings.Replace(amount, ".", "", 1), 10, 64)
	return keep(ctx, store, theDay, storage.Row{"subject_id": theDay, "cents": cents}, amount == "")
}

func keep(ctx context.Context, store storage.Store, key string, row storage.Row, none bool) error {
	return store.Write(ctx, func(tx storage.Tx) error {
		if _, err := tx.Delete(ctx, rules, is("subject_id", key)); err != nil || none {
			return err
		}
		return tx.Insert(ctx, rules, row)
	})
}

// ruleOf is the rule of a person, or that of all.
func ruleOf(ctx context.Context, tx storage.Tx, subject string) (string, error) {
	for _, key := range []string{subject, theAll} {
		row, err := storage.First(ctx, tx, rules, is("subject_id", key), false)
		if err != nil {
			return "", fmt.Errorf("reading a rule: %w", err)
		}
		if row != nil {
			return text(row, "answer"), nil
		}
	}
	return "", nil
}
