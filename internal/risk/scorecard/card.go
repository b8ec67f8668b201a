package scorecard

import (
	"crypto/sha256"
	_ "embed" // the card
	"encoding/hex"
	"fmt"

	"patchbay/internal/fault"
	"patchbay/internal/risk/figures"
	"patchbay/internal/risk/portable"
	"patchbay/internal/strictjson"
)

type (
	// Card is a scorecard.
	Card struct {
		Version string `json:"version"`
		Data    string `json:"data"`   // SHA-256 of the file it was trained on, in hexadecimal
		Anchor  int    `json:"anchor"` // the score at which Odds hold
		Odds    int    `json:"odds"`   // loans that are repaid for one that is not
		Double  int    `json:"double"` // points that double them
		Base    int    `json:"base"`   // of everybody
		// Neutral is the score of base and of everybody's neutral points.
		Neutral         int              `json:"neutral"`
		Characteristics []Characteristic `json:"characteristics"`
	}

	// Characteristic is one figure, or one word, of an applicant.
	Characteristic struct {
		Name    string  `json:"name"`  // as in Applicant
		Title   string  `json:"title"` // as customers read it
		Advice  string  `json:"advice"`
		Low     float64 `json:"low"` // of what it may be; both 0 when it is a word
		High    float64 `json:"high"`
		Neutral int     `json:"neutral"` // the mean points of those it was trained on, rounded
		Most    int     `json:"most"`
		// The coefficient of the weight of evidence in the logistic model, and the information value.
		Coefficient float64 `json:"coefficient"`
		Information float64 `json:"information"`
		Classes     []Class `json:"classes"`
	}

	// Class is a range of the figure, from the bound of the class before to Below, or a word.
	Class struct {
		Below  *float64 `json:"below,omitempty"` // null: to the end
		Word   string   `json:"word,omitempty"`
		Text   string   `json:"text"` // as customers read it
		Points int      `json:"points"`
		// The part of the training data that is in it, the part of these that defaulted, and the
		// weight of evidence ln(part of all good ÷ part of all bad).
		Share   float64 `json:"share"`
		Default float64 `json:"default"`
		WoE     float64 `json:"woe"`
	}

	// Applicant is what is known of somebody, by the names of characteristics.
	Applicant struct {
		Figures map[string]float64 `json:"figures"`
		Words   map[string]string  `json:"words"`
	}

	// Score is what the card says of an applicant.
	Score struct {
		Card    string  `json:"card"` // its version
		Points  int     `json:"points"`
		PD      float64 `json:"pd"` // probability of default within a year
		Neutral int     `json:"neutral"`
		// Parts has one entry a characteristic, in the card's order: Points is Neutral and the sum of
		// their Effects.
		Parts []Part `json:"parts"`
	}

	// Part is what one characteristic did.
	Part struct {
		Name   string `json:"name"`
		Title  string `json:"title"`
		Found  string `json:"found"` // the class, in words
		Points int    `json:"points"`
		Effect int    `json:"effect"` // points above the neutral ones; below 0 it counted against the applicant
		Lost   int    `json:"lost"`   // points below the most
		Advice string `json:"advice"`
	}
)

//go:embed card.json
var committed []byte

// Default is the card that is committed beside this package.
func Default() (Card, error) { return Read(committed) }

// Digest is the SHA-256 of the committed card, in hexadecimal.
func Digest() string {
	sum := sha256.Sum256(committed)
	return hex.EncodeToString(sum[:])
}

// Read reads a card and checks it.
func Read(b []byte) (Card, error) {
	var c Card
	if err := strictjson.Unmarshal(b, &c); err != nil {
		return c, fmt.Errorf("reading a scorecard: %w", err)
	}
	return c, c.check()
}

// check holds a card against its own words: what would give a score that is not explained.
func (c *Card) check() error {
	var wrong figures.Check
	wrong.Whole("odds", c.Odds, 1, 1e6)
	wrong.Whole("double", c.Double, 1, 1000)
	neutral := c.Base
	for i := range c.Characteristics {
		ch, path := &c.Characteristics[i], fault.AtIndex("characteristics", i)
		neutral += ch.Neutral
		if len(ch.Classes) == 0 {
			wrong.Add(figures.Missing, fault.At(path, "classes"), "are missing", "give at least one")
			continue
		}
		bound := ch.Low
		most := ch.Classes[0].Points
		for j, class := range ch.Classes {
			at := fault.AtIndex(fault.At(path, "classes"), j)
			most = max(most, class.Points)
			last := j == len(ch.Classes)-1
			switch {
			case ch.word() && (class.Word == "" || class.Below != nil), !ch.word() && class.Word != "":
				wrong.Add(figures.Contradiction, at, "is of another kind than its characteristic", "give words or bounds")
			case ch.word():
			case last != (class.Below == nil), class.Below != nil && !(*class.Below > bound):
				wrong.Add(figures.Contradiction, at, "does not continue the class before", "let bounds rise, and leave out the last")
			case class.Below != nil:
				bound = *class.Below
			}
		}
		if ch.Most != most {
			wrong.Add(figures.Contradiction, fault.At(path, "most"), "is not the most of its classes", "give that")
		}
	}
	if neutral != c.Neutral {
		wrong.Add(figures.Contradiction, "neutral", "is not the sum of base and neutral points", "give the sum")
	}
	return wrong.Err()
}

func (ch *Characteristic) word() bool { return ch.Low == 0 && ch.High == 0 }

// Score scores an applicant, of whom everything has to be known and nothing else may be given.
func (c *Card) Score(a Applicant) (Score, error) {
	var wrong figures.Check
	s := Score{Card: c.Version, Points: c.Base, Neutral: c.Neutral}
	known := 0
	for i := range c.Characteristics {
		ch := &c.Characteristics[i]
		class, given := ch.find(&wrong, a)
		known += given
		if class == nil {
			continue
		}
		s.Points += class.Points
		s.Parts = append(s.Parts, Part{
			Name: ch.Name, Title: ch.Title, Found: class.Text, Points: class.Points,
			Effect: class.Points - ch.Neutral, Lost: ch.Most - class.Points, Advice: ch.Advice,
		})
	}
	if known < len(a.Figures)+len(a.Words) {
		wrong.Add(figures.Unknown, "applicant", "has figures or words that the card does not know", "give those of its characteristics")
	}
	if err := wrong.Err(); err != nil {
		return Score{}, err
	}
	s.PD = c.PD(s.Points)
	return s, figures.Finite("the probability of default", s.PD)
}

// PD is the probability of default at a score.
func (c *Card) PD(points int) float64 {
	const ln2 = 0.6931471805599453
	odds := float64(float64(points-c.Anchor)*ln2)/float64(c.Double) + portable.Log(float64(c.Odds))
	return 1 / (1 + portable.Exp(odds))
}

// find is the class of an applicant, and how many of their entries name the characteristic.
func (ch *Characteristic) find(wrong *figures.Check, a Applicant) (class *Class, given int) {
	x, figure := a.Figures[ch.Name]
	w, word := a.Words[ch.Name]
	for _, is := range []bool{figure, word} {
		if is {
			given++
		}
	}
	path := fault.At("applicant", ch.Name)
	switch {
	case figure && word, figure && ch.word(), word && !ch.word():
		wrong.Add(figures.Contradiction, path, "is given as a figure where it is a word, or the other way", "give it once, as the card has it")
	case given == 0:
		wrong.Add(figures.Missing, path, "is missing", "give it: no score is made of partial data")
	case ch.word():
		for i := range ch.Classes {
			if ch.Classes[i].Word == w {
				return &ch.Classes[i], given
			}
		}
		wrong.Add(figures.Unknown, path, "is none of the card's words", "give one of them")
	case wrong.Within(path, x, ch.Low, ch.High):
		for i := range ch.Classes {
			if ch.Classes[i].Below == nil || x < *ch.Classes[i].Below {
				return &ch.Classes[i], given
			}
		}
	}
	return nil, given
}
