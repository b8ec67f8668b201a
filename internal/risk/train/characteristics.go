package main

import "strconv"

// column is a characteristic: what it is called, how it is said, and which way is better.
type column struct {
	name, title, advice string
	high                float64 // of the figure; 0: a word
	falls               bool    // a higher figure, fewer defaults
	say                 func(from, below string) string
	words               map[string]string // and their texts
}

// spoken makes the text of a class from its bounds, either of which may be "".
func spoken(format string) func(from, below string) string {
	return func(from, below string) string {
		switch {
		case from == "":
			return "less than " + below + format
		case below == "":
			return from + format + " or more"
		}
		return from + format + " or more, but less than " + below + format
	}
}

// counted is of figures that are counted one by one.
func counted(none, one, many string) func(from, below string) string {
	return func(from, below string) string {
		first, _ := strconv.Atoi(from)
		end, err := strconv.Atoi(below)
		switch {
		case err != nil && first == 1:
			return "at least " + one
		case err != nil:
			return from + " " + many + " or more"
		case end == first+1 && first == 0:
			return none
		case end == first+1 && first == 1:
			return one
		case end == first+1:
			return from + " " + many
		}
		return strconv.Itoa(first) + " to " + strconv.Itoa(end-1) + " " + many
	}
}

// columns are the characteristics in the order of the file. Age, sex, nationality and where
// somebody lives are not among them: the law forbids some, and none is needed.
var columns = []column{
	{
		name: "employment_months", title: "Time with the present employer", advice: "A longer time counts in favour.",
		high: 480, falls: true, say: spoken(" months"),
	},
	{
		name: "payment_percent", title: "Instalments of all loans, this one included, as a part of the income", advice: "A smaller loan, a longer term or fewer other loans count in favour.",
		high: 90, say: spoken(" per cent"),
	},
	{
		name: "card_use_percent", title: "Use of card and overdraft limits", advice: "A lower use counts in favour.",
		high: 110, say: spoken(" per cent"),
	},
	{
		name: "inquiries_6m", title: "Applications for credit in the last six months", advice: "Fewer count in favour.",
		high: 12, say: counted("none", "one application", "applications"),
	},
	{
		name: "arrears_24m", title: "Payments that were 30 days late in the last two years", advice: "Each month without one counts in favour.",
		high: 8, say: counted("none", "one late payment", "late payments"),
	},
	{
		name: "savings_months", title: "Savings, in months of living costs", advice: "More savings count in favour.",
		high: 60, falls: true, say: spoken(" months"),
	},
	{
		name: "customer_months", title: "Time as our customer", advice: "A longer time counts in favour.",
		high: 480, falls: true, say: spoken(" months"),
	},
	{
		name: "housing", title: "Housing", advice: "A home of one's own counts in favour.",
		words: map[string]string{"owner": "own home", "tenant": "rented home", "family": "with family"},
	},
}
