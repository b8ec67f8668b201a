package main

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the data
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"

	"patchbay/internal/risk/fit"
	"patchbay/internal/risk/scorecard"
)

//go:embed loans.csv
var loans []byte

// The scale: 600 points are 20 repaid for one that is not, and 40 points double that.
const (
	anchor = 600
	odds   = 20
	double = 40
)

// book is the rows of the file; of ten, the first seven train and the others judge.
type book struct {
	figures [][]float64 // by column, NaN never; those of a word are empty
	words   [][]string
	bad     []bool
}

func read(file []byte) (train, hold book, err error) {
	records, err := csv.NewReader(bytes.NewReader(file)).ReadAll()
	if err != nil {
		return train, hold, fmt.Errorf("reading the loans: %w", err)
	}
	if len(records) < 100 || len(records[0]) != len(columns)+1 {
		return train, hold, fmt.Errorf("reading the loans: %d lines of %d columns, not of %d", len(records), len(records[0]), len(columns)+1)
	}
	for _, b := range []*book{&train, &hold} {
		b.figures, b.words = make([][]float64, len(columns)), make([][]string, len(columns))
	}
	for i, record := range records[1:] {
		b := &hold
		if i%10 < 7 {
			b = &train
		}
		for j, c := range columns {
			if c.words != nil {
				b.words[j] = append(b.words[j], record[j])
				continue
			}
			x, err := strconv.ParseFloat(record[j], 64)
			if err != nil {
				return train, hold, fmt.Errorf("line %d, %s: %w", i+2, c.name, err)
			}
			b.figures[j] = append(b.figures[j], x)
		}
		b.bad = append(b.bad, record[len(columns)] == "1")
	}
	return train, hold, nil
}

// card is the scorecard of a file of loans, as JSON.
func card(file []byte) ([]byte, error) {
	train, _, err := read(file)
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(file)
	c := scorecard.Card{Version: "loans-1", Data: hex.EncodeToString(digest[:]), Anchor: anchor, Odds: odds, Double: double}
	rows := make([][]float64, len(train.bad))
	for i := range rows {
		rows[i] = make([]float64, len(columns))
	}
	for j, column := range columns {
		ch := scorecard.Characteristic{Name: column.name, Title: column.title, Advice: column.advice, High: column.high}
		bins, classes, of := train.classes(j)
		woe, information := fit.Evidence(bins)
		for i, at := range of {
			rows[i][j] = woe[at]
		}
		for k := range classes {
			size := bins[k].Good + bins[k].Bad
			classes[k].Share, classes[k].Default, classes[k].WoE = short(float64(size)/float64(len(of))), short(float64(bins[k].Bad)/float64(size)), woe[k]
		}
		ch.Classes, ch.Information = classes, short(information)
		c.Characteristics = append(c.Characteristics, ch)
	}
	coefficients, err := fit.Logistic(rows, train.bad)
	if err != nil {
		return nil, err
	}
	scale(&c, coefficients)
	out, err := json.MarshalIndent(c, "", "  ")
	return append(out, '\n'), err
}

// classes are those of a column, and of each row which.
func (b *book) classes(j int) (bins []fit.Bin, classes []scorecard.Class, of []int) {
	column := columns[j]
	if column.words != nil {
		names := slices.Sorted(maps.Keys(column.words))
		bins = make([]fit.Bin, len(names))
		for _, name := range names {
			classes = append(classes, scorecard.Class{Word: name, Text: column.words[name]})
		}
		for i, word := range b.words[j] {
			at := slices.Index(names, word)
			of = append(of, at)
			if b.bad[i] {
				bins[at].Bad++
			} else {
				bins[at].Good++
			}
		}
		return bins, classes, of
	}
	bins = fit.Coarse(b.figures[j], b.bad, column.falls)
	for k := range bins {
		from, below := plain(bins[k].From), ""
		class := scorecard.Class{}
		if k == 0 {
			from = ""
		}
		if k+1 < len(bins) {
			class.Below, below = &bins[k+1].From, plain(bins[k+1].From)
		}
		class.Text = column.say(from, below)
		classes = append(classes, class)
	}
	for _, x := range b.figures[j] {
		at := 0
		for at+1 < len(bins) && x >= bins[at+1].From {
			at++
		}
		of = append(of, at)
	}
	return bins, classes, of
}

// scale makes points of the logistic model. The model is of the odds of default: points go the
// other way.
func scale(c *scorecard.Card, coefficients []float64) {
	const ln2, lnOdds = math.Ln2, 2.995732273553991 // ln 20
	factor := double / ln2
	c.Base = int(math.Round(anchor - float64(factor*(lnOdds+coefficients[0]))))
	c.Neutral = c.Base
	for j := range c.Characteristics {
		ch := &c.Characteristics[j]
		ch.Coefficient = short(coefficients[j+1])
		mean := 0.0
		for k := range ch.Classes {
			class := &ch.Classes[k]
			class.Points = int(math.Round(float64(float64(-factor*coefficients[j+1]) * class.WoE)))
			class.WoE = short(class.WoE)
			mean += float64(class.Share * float64(class.Points))
			if k == 0 || class.Points > ch.Most {
				ch.Most = class.Points
			}
		}
		ch.Neutral = int(math.Round(mean))
		c.Neutral += ch.Neutral
	}
}

// short is x to four decimals.
func short(x float64) float64 { return math.Round(float64(x*1e4)) / 1e4 }

func plain(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }
