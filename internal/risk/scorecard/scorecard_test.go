package scorecard_test

import (
	"bytes"
	"encoding/json"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"patchbay/internal/fault"
	"patchbay/internal/risk/figures"
	"patchbay/internal/risk/scorecard"
)

func card(t require.TestingT) scorecard.Card {
	c, err := scorecard.Default()
	require.NoError(t, err)
	return c
}

// somebody draws an applicant of whom all is known.
func somebody(r *rapid.T, c *scorecard.Card) scorecard.Applicant {
	a := scorecard.Applicant{Figures: map[string]float64{}, Words: map[string]string{}}
	for _, ch := range c.Characteristics {
		if ch.Classes[0].Word != "" {
			a.Words[ch.Name] = ch.Classes[rapid.IntRange(0, len(ch.Classes)-1).Draw(r, ch.Name)].Word
		} else {
			a.Figures[ch.Name] = rapid.Float64Range(ch.Low, ch.High).Draw(r, ch.Name)
		}
	}
	return a
}

func usual() scorecard.Applicant {
	return scorecard.Applicant{
		Figures: map[string]float64{
			"employment_months": 12, "payment_percent": 36, "card_use_percent": 20, "inquiries_6m": 1, "arrears_24m": 1, "savings_months": 2, "customer_months": 40,
		},
		Words: map[string]string{"housing": "tenant"},
	}
}

func TestWhatEachCharacteristicMovedAddsUpToTheScore(t *testing.T) {
	t.Parallel()
	c := card(t)
	rapid.Check(t, func(r *rapid.T) {
		s, err := c.Score(somebody(r, &c))
		require.NoError(r, err)
		effects, points, lost := s.Neutral, c.Base, 0
		for _, p := range s.Parts {
			effects += p.Effect
			points += p.Points
			lost += p.Lost
			require.GreaterOrEqual(r, p.Lost, 0)
		}
		require.Equal(r, s.Points, effects)
		require.Equal(r, s.Points, points)
		require.Equal(r, c.PD(s.Points), s.PD, "the probability follows from the score alone")
		require.Len(r, s.Parts, len(c.Characteristics))
		for _, p := range s.Against() {
			require.Negative(r, p.Effect)
		}
	})
}

// A reason that had not moved the score would be a lie: taking its part away moves it by just that.
func TestAReasonThatIsMendedMovesTheScoreByItsPoints(t *testing.T) {
	t.Parallel()
	c := card(t)
	s, err := c.Score(usual())
	require.NoError(t, err)
	worst := s.Against()[0]
	require.Equal(t, "arrears_24m", worst.Name)
	better := usual()
	better.Figures["arrears_24m"] = 0
	again, err := c.Score(better)
	require.NoError(t, err)
	require.Equal(t, s.Points+worst.Lost, again.Points)
	require.Less(t, again.PD, s.PD)
}

func TestReasonsAreWordsForCustomers(t *testing.T) {
	t.Parallel()
	c := card(t)
	s, err := c.Score(usual())
	require.NoError(t, err)
	require.Equal(t, []string{
		"Payments that were 30 days late in the last two years: at least one late payment. That is 60 points less than an average applicant has. Each month without one counts in favour.",
		"Time with the present employer: less than 21 months. That is 22 points less than an average applicant has. A longer time counts in favour.",
	}, s.Reasons(2))
	require.Len(t, s.Reasons(99), len(s.Against()))
}

func TestThePointsSayWhatTheScalePromises(t *testing.T) {
	t.Parallel()
	c := card(t)
	require.InEpsilon(t, 1/(1+float64(c.Odds)), c.PD(c.Anchor), 1e-14)
	require.InEpsilon(t, 1/(1+2*float64(c.Odds)), c.PD(c.Anchor+c.Double), 1e-14)
	for _, ch := range c.Characteristics {
		require.Less(t, ch.Coefficient, 0.0, "%s: a higher weight of evidence is fewer defaults", ch.Name)
		share := 0.0
		for i, class := range ch.Classes {
			share += class.Share
			if i > 0 && class.WoE > ch.Classes[i-1].WoE {
				require.GreaterOrEqual(t, class.Points, ch.Classes[i-1].Points, ch.Name)
			}
		}
		require.InDelta(t, 1, share, 1e-3)
	}
}

func TestNoScoreIsMadeOfPartialOrStrangeData(t *testing.T) {
	t.Parallel()
	c := card(t)
	for name, e := range map[string]struct {
		change     func(scorecard.Applicant)
		path, code string
	}{
		"a figure is missing":      {func(a scorecard.Applicant) { delete(a.Figures, "savings_months") }, "applicant.savings_months", figures.Missing},
		"a word is missing":        {func(a scorecard.Applicant) { delete(a.Words, "housing") }, "applicant.housing", figures.Missing},
		"another word":             {func(a scorecard.Applicant) { a.Words["housing"] = "castle" }, "applicant.housing", figures.Unknown},
		"no number":                {func(a scorecard.Applicant) { a.Figures["payment_percent"] = math.NaN() }, "applicant.payment_percent", figures.NotANumber},
		"endless":                  {func(a scorecard.Applicant) { a.Figures["savings_months"] = math.Inf(1) }, "applicant.savings_months", figures.NotANumber},
		"negative":                 {func(a scorecard.Applicant) { a.Figures["arrears_24m"] = -1 }, "applicant.arrears_24m", figures.Range},
		"too much":                 {func(a scorecard.Applicant) { a.Figures["payment_percent"] = 91 }, "applicant.payment_percent", figures.Range},
		"a figure for a word":      {func(a scorecard.Applicant) { a.Figures["housing"] = 1; delete(a.Words, "housing") }, "applicant.housing", figures.Contradiction},
		"both":                     {func(a scorecard.Applicant) { a.Figures["housing"] = 1 }, "applicant.housing", figures.Contradiction},
		"something nobody asked":   {func(a scorecard.Applicant) { a.Figures["age"] = 40 }, "applicant", figures.Unknown},
		"some word nobody asked":   {func(a scorecard.Applicant) { a.Words["sex"] = "f" }, "applicant", figures.Unknown},
		"a word for a figure, too": {func(a scorecard.Applicant) { a.Words["arrears_24m"] = "none" }, "applicant.arrears_24m", figures.Contradiction},
	} {
		a := usual()
		e.change(a)
		s, err := c.Score(a)
		var f *fault.Fault
		require.ErrorAs(t, err, &f, name)
		require.Equal(t, e.code, f.Code, name)
		require.Equal(t, e.path, f.Fields[0].Path, name)
		require.Zero(t, s, name)
	}
}

func TestACardThatExplainsNothingIsRefused(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*scorecard.Card){
		"neutral points that do not add up":  func(c *scorecard.Card) { c.Neutral++ },
		"a most that is not the most":        func(c *scorecard.Card) { c.Characteristics[0].Most++ },
		"bounds that fall":                   func(c *scorecard.Card) { *c.Characteristics[0].Classes[1].Below = 1 },
		"an end before the end":              func(c *scorecard.Card) { c.Characteristics[0].Classes[0].Below = nil },
		"a characteristic without classes":   func(c *scorecard.Card) { c.Characteristics[3].Classes = nil },
		"a word among figures":               func(c *scorecard.Card) { c.Characteristics[0].Classes[0].Word = "long" },
		"odds of nothing":                    func(c *scorecard.Card) { c.Odds = 0 },
		"a characteristic that is not known": nil,
	} {
		c := card(t)
		var b []byte
		if change == nil {
			b = []byte(`{"version":"1","colour":"blue"}`)
		} else {
			change(&c)
			var err error
			b, err = json.Marshal(c)
			require.NoError(t, err)
		}
		_, err := scorecard.Read(b)
		var f *fault.Fault
		require.ErrorAs(t, err, &f, name)
		require.Equal(t, fault.Invalid, f.Class, name)
	}
	c := card(t)
	b, err := json.Marshal(c)
	require.NoError(t, err)
	again, err := scorecard.Read(bytes.TrimSpace(b))
	require.NoError(t, err)
	require.Equal(t, c, again)
}
