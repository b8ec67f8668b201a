package bureau

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"patchbay/internal/sandbox/exchange"
	"patchbay/internal/sandbox/login"
	"patchbay/internal/sandbox/ordered"
	"patchbay/internal/sandbox/storage"
)

// Name is the system's in the sandbox.
const Name = "bureau"

const (
	price   = 250    // cents
	perDay  = 50_000 // cents, unless a control says otherwise
	takes   = 250 * time.Millisecond
	oneDay  = 24 * time.Hour
	theAll  = "*"
	theDay  = "" // the rule that holds what a day has
	dayForm = time.DateOnly
)

// System is the bureau. It is safe for concurrent use.
type System struct {
	authority *login.Authority
	speed     float64
	lean      bool
}

// New returns the stand-in; authority tells who a caller is.
func New(authority *login.Authority, speed float64, lean bool) *System {
	return &System{authority: authority, speed: max(speed, 1), lean: lean}
}

// Admit accepts a token and Basic, and takes the time that a bureau takes.
func (s *System) Admit(c *exchange.Call) (*exchange.Answer, func()) {
	user, err := s.authority.Check(c.Header.Get("Authorization"), true)
	if err != nil {
		refusal := s.Refuse(c, http.StatusUnauthorized)
		return &refusal, nil
	}
	c.User = user
	if c.Method == http.MethodPost && !s.lean {
		<-time.NewTimer(time.Duration(float64(takes) / s.speed)).C
	}
	return nil, nil
}

// Serve answers one call.
func (s *System) Serve(ctx context.Context, tx storage.Tx, c *exchange.Call) (exchange.Answer, error) {
	switch {
	case c.Method == http.MethodGet && c.Path == "/v1/health":
		return answer(http.StatusOK, ordered.New("status", "up")), nil
	case c.Method == http.MethodPost && c.Path == "/v1/inquiries":
		return s.inquire(ctx, tx, c)
	}
	return refusal(http.StatusNotFound, "not_found", "there is nothing at "+c.Path), nil
}

var references = regexp.MustCompile(`^[A-Za-z0-9._-]{8,64}$`)

func (s *System) inquire(ctx context.Context, tx storage.Tx, c *exchange.Call) (exchange.Answer, error) {
	var in struct {
		Subject string `json:"subject_id"`
		Purpose string `json:"purpose"`
	}
	reference := c.Header.Get("Inquiry-Reference")
	switch {
	case json.Unmarshal(c.Body, &in) != nil || in.Subject == "":
		return refusal(http.StatusBadRequest, "invalid_inquiry", `send {"subject_id": "…", "purpose": "…"}`), nil
	case !references.MatchString(reference):
		return refusal(http.StatusBadRequest, "reference_missing", "the header Inquiry-Reference has 8 to 64 letters, digits, dots, underscores or hyphens"), nil
	}
	known, err := storage.First(ctx, tx, subjects, is("subject_id", in.Subject), false)
	if err != nil {
		return exchange.Answer{}, fmt.Errorf("looking for a person: %w", err)
	}
	if known == nil {
		return refusal(http.StatusNotFound, "unknown_subject", "nothing is known of this person; the inquiry is not charged"), nil
	}
	before, err := storage.First(ctx, tx, inquiries, storage.And{is("reference", reference), is("owner", c.User.ClientID)}, true)
	switch {
	case err != nil:
		return exchange.Answer{}, fmt.Errorf("looking for an inquiry: %w", err)
	case before != nil && text(before, "subject_id") != in.Subject:
		return refusal(http.StatusConflict, "reference_used", "the reference stands for an inquiry about somebody else"), nil
	case before != nil:
		before["times"] = number(before, "times") + 1
		if err := tx.Update(ctx, inquiries, storage.Row{"reference": reference, "owner": c.User.ClientID, "times": before["times"]}); err != nil {
			return exchange.Answer{}, fmt.Errorf("counting an inquiry: %w", err)
		}
		return s.report(ctx, tx, known, before, false)
	}
	day, ends := s.day(c.At)
	if ok, err := charge(ctx, tx, day); err != nil {
		return exchange.Answer{}, err
	} else if !ok {
		refused := refusal(http.StatusTooManyRequests, "budget_exhausted", "the inquiries that the contract allows a day are used up")
		refused.Header.Set("Retry-After", strconv.Itoa(int(ends.Seconds())+1))
		return refused, nil
	}
	made := storage.Row{"reference": reference, "owner": c.User.ClientID, "subject_id": in.Subject, "purpose": in.Purpose, "at": c.At.Truncate(time.Microsecond),
		"day": day, "cents": int64(price), "times": int64(1)}
	if err := tx.Insert(ctx, inquiries, made); err != nil {
		return exchange.Answer{}, fmt.Errorf("keeping an inquiry: %w", err)
	}
	return s.report(ctx, tx, known, made, true)
}

// day names the day of a moment, and says when it ends.
func (s *System) day(at time.Time) (name string, ends time.Duration) {
	begun := at.UTC().Truncate(oneDay)
	length := time.Duration(float64(oneDay) / s.speed)
	return fmt.Sprintf("%s/%d", begun.Format(dayForm), int(at.Sub(begun)/length)), length - at.Sub(begun)%length
}

// charge takes the price from what the day has; false: it has no more.
func charge(ctx context.Context, tx storage.Tx, day string) (bool, error) {
	most := int64(perDay)
	rule, err := storage.First(ctx, tx, rules, is("subject_id", theDay), false)
	if err != nil {
		return false, fmt.Errorf("reading what a day has: %w", err)
	}
	if rule != nil {
		most = number(rule, "cents")
	}
	row, err := storage.First(ctx, tx, days, is("day", day), true)
	if err != nil {
		return false, fmt.Errorf("reading what a day spent: %w", err)
	}
	if number(row, "spent")+price > most {
		return false, nil
	}
	if row == nil {
		err = tx.Insert(ctx, days, storage.Row{"day": day, "spent": int64(price)})
	} else {
		err = tx.Update(ctx, days, storage.Row{"day": day, "spent": number(row, "spent") + price})
	}
	if err != nil {
		return false, fmt.Errorf("charging a day: %w", err)
	}
	return true, nil
}

// report is the answer about a person, as rules bend it.
func (s *System) report(ctx context.Context, tx storage.Tx, of, inquiry storage.Row, charged bool) (exchange.Answer, error) {
	bent, err := ruleOf(ctx, tx, text(of, "subject_id"))
	if err != nil {
		return exchange.Answer{}, err
	}
	about := text(of, "subject_id")
	if bent == "other-subject" {
		others, err := tx.Find(ctx, subjects, storage.Query{Where: storage.Not{X: is("subject_id", about)}, Limit: 1})
		if err != nil || len(others) == 0 {
			return exchange.Answer{}, fmt.Errorf("finding somebody else: %w", err)
		}
		of, about = others[0], text(others[0], "subject_id")
	}
	score, use, currency := of["score"], of["card_use_percent"], of["currency"]
	switch bent {
	case "missing":
		score = nil
	case "malformed":
		score = "six hundred"
	case "contradictory":
		use = json.Number("-12.50")
	case "unknown-currency":
		currency = "XQZ"
	}
	at, _ := inquiry["at"].(time.Time)
	report := ordered.New("subject_id", about, "as_of", at.UTC().Format(time.RFC3339), "currency", currency, "score", score, "open_loans", of["open_loans"],
		"monthly_instalments", of["monthly_instalments"], "card_use_percent", use, "inquiries_6_months", of["inquiries"], "late_payments_24_months", of["late_payments"])
	cents := int64(0)
	if charged {
		cents = price
	}
	return answer(http.StatusOK, ordered.New(
		"inquiry", ordered.New("reference", inquiry["reference"], "charged", charged, "price", json.Number(money(cents)), "currency", "EUR"), "report", report)), nil
}

func money(cents int64) string { return fmt.Sprintf("%d.%02d", cents/100, cents%100) }

// Refuse words a failure.
func (s *System) Refuse(_ *exchange.Call, status int) exchange.Answer {
	return refusal(status, "error", http.StatusText(status))
}

func refusal(status int, code, detail string) exchange.Answer {
	a := answer(status, ordered.New("type", "about:blank", "title", http.StatusText(status), "status", status, "code", code, "detail", detail))
	a.Header.Set("Content-Type", "application/problem+json")
	return a
}

func answer(status int, body *ordered.Object) exchange.Answer {
	return exchange.Answer{Status: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: body.Bytes()}
}
