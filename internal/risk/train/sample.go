package main

import (
	"fmt"
	"math"
	"strings"

	"patchbay/internal/risk/portable"
)

const (
	applicants = 8000
	seed       = 20260601
	stream     = 0x6c6f616e73 // "loans"
)

// header names the columns. defaulted is 1 when the loan was 90 days overdue within a year.
const header = "employment_months,payment_percent,card_use_percent,inquiries_6m,arrears_24m,savings_months,customer_months,housing,defaulted"

// draws are the random numbers of one applicant, in the order in which they are asked for.
type draws struct{ applicant, next uint64 }

func (d *draws) uniform() float64 {
	u := portable.Philox(seed, stream, [4]uint64{d.applicant, d.next / 4})
	d.next++
	return portable.Uniform(u[(d.next-1)%4])
}

func (d *draws) normal() float64 { return portable.Quantile(d.uniform()) }

// whole is x as a whole number from 0 to high.
func whole(x, high float64) float64 { return math.Floor(min(max(x, 0), high)) }

// sample makes the data: synthetic, since no public-domain loan book is at hand. Each
// applicant has a hidden strength that all figures depend on, each with noise of its own; the
// odds of default are not the model's: they bend, saturate, know an interaction and one thing
// more that nobody sees.
func sample() []byte {
	var b strings.Builder
	b.WriteString(header + "\n")
	for i := range uint64(applicants) {
		d := draws{applicant: i}
		strength := d.normal()
		mix := func(level, slope, noise float64) float64 {
			return level + float64(slope*strength) + float64(noise*d.normal())
		}
		employment := whole(portable.Exp(mix(3.7, 0.5, 0.9)), 480)
		payment := whole(mix(27, -5, 10), 90)
		use := whole(float64(110*portable.Cumulative(mix(-0.2, -0.6, 0.8))), 110)
		inquiries := whole(portable.Exp(mix(0.3, -0.35, 0.7)), 12)
		arrears := whole(float64(1.6*mix(-1.2, -0.6, 1.1)), 8)
		savings := whole(float64(10*portable.Exp(mix(0.5, 0.6, 0.9))), 600) / 10
		customer := whole(portable.Exp(mix(3.3, 0.2, 1.1)), 480)
		housing := "tenant"
		switch h := mix(0, 0.4, 1); {
		case h > 0.5:
			housing = "owner"
		case h < -0.9:
			housing = "family"
		}

		odds := -2.35 - float64(0.4*portable.Log(1+employment/12)) + float64(0.03*(payment-25)) + float64(0.7*float64(use*use)/10_000) +
			float64(0.13*inquiries) + float64(0.7*min(arrears, 3)) - float64(0.35*portable.Log(1+savings)) - float64(0.1*portable.Log(1+customer/12))
		switch housing {
		case "owner":
			odds -= 0.35
		case "tenant":
			odds += float64(0.02 * max(payment-35, 0))
		}
		odds += float64(0.5 * d.normal())
		defaulted := 0
		if d.uniform() < 1/(1+portable.Exp(-odds)) {
			defaulted = 1
		}
		fmt.Fprintf(&b, "%.0f,%.0f,%.0f,%.0f,%.0f,%.1f,%.0f,%s,%d\n", employment, payment, use, inquiries, arrears, savings, customer, housing, defaulted)
	}
	return []byte(b.String())
}
