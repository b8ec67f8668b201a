package advice

import (
	"math/big"
	"regexp"
	"strings"
	"unicode"
)

// grounds are the numbers and words with digits that a reason may have.
type grounds struct {
	numbers map[string]bool // by big.Rat.RatString
	words   map[string]bool
}

// grounds collects what stands in the rows that an answer cites, as far as the model
// was shown them, and in the facts. A text counts as a whole, if it is one word: what
// is written in a note of somebody's is no ground for a number.
func (s *Spec) grounds(a *asked, cited []string) grounds {
	g := grounds{numbers: map[string]bool{}, words: map[string]bool{}}
	for _, id := range cited {
		g.words[id] = true
		for _, v := range s.seen(a.evidence.shown[id]) {
			g.add(v)
		}
	}
	for _, k := range a.facts {
		if k.why == "" {
			g.add(k.value)
		}
	}
	return g
}

func (g grounds) add(v any) {
	if n, ok := exact(v); ok {
		g.numbers[n.RatString()] = true
	}
	if text, ok := v.(string); ok && len(text) <= mostToken && !strings.ContainsFunc(text, unicode.IsSpace) && text != "" {
		g.words[text] = true
	}
}

// carry reports whether the grounds have every number of a reason. Two numbers that
// stand side by side could be read as one.
func (g grounds) carry(reason string) bool {
	before := false
	for _, token := range strings.Fields(reason) {
		token = strings.Trim(token, around)
		digits := plain.MatchString(bare(token))
		if digits && before || !g.has(token) {
			return false
		}
		before = digits
	}
	return true
}

// bare is a token without the sign of a currency.
func bare(token string) string {
	return strings.TrimFunc(token, func(r rune) bool { return unicode.Is(unicode.Sc, r) })
}

const around = `.,;:!?()"'«»„“”‘’…–`

func (g grounds) has(token string) bool {
	if g.words[token] {
		return true
	}
	if !strings.ContainsFunc(token, unicode.IsNumber) {
		return g.hasWords(token)
	}
	text := bare(token)
	if !plain.MatchString(text) {
		return false
	}
	n, ok := new(big.Rat).SetString(text)
	return ok && g.numbers[n.RatString()]
}

// hasWords looks for numbers that are spelled out.
func (g grounds) hasWords(token string) bool {
	for _, w := range strings.FieldsFunc(strings.ToLower(token), func(r rune) bool { return !unicode.IsLetter(r) }) {
		if value, small := smallNumbers[w]; small && !g.numbers[value] {
			return false
		}
		if largeNumbers.MatchString(w) {
			return false
		}
	}
	return true
}

// Numbers in words, in the languages of the console. A small one counts as a number;
// others are refused: digits are for them.
var (
	smallNumbers = map[string]string{
		"zero": "0", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9", "ten": "10", "eleven": "11", "twelve": "12",
		"null": "0", "zwei": "2", "drei": "3", "vier": "4", "fünf": "5", "sechs": "6", "sieben": "7", "acht": "8", "neun": "9", "zehn": "10", "elf": "11", "zwölf": "12",
	}
	largeNumbers = regexp.MustCompile(`^(k|m|mio|mrd|bn|mn|once|twice|thrice|dozen|dozens|half|double|triple|percent|dutzend|halb|halbe|doppelt|doppelte|prozent|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)$` +
		`|teen$|hundred|thousand|million|billion|trillion|hundert|tausend|milliarde|zehn.|.zehn$|zig$|ßig$|fold$|fach$`)
)

// addresses are what a mail client or a browser makes a link of, and what starts one.
var addresses = regexp.MustCompile(`(?i)://|www\.|mailto:|javascript:|data:|\]\(|[\p{L}\p{N}-]\.\p{L}{2,}`)

// isPlain reports whether a text is letters, digits and the punctuation of a sentence.
func isPlain(text string) bool {
	for _, r := range text {
		switch {
		case r == ' ', r == '+', unicode.IsLetter(r), unicode.IsMark(r), unicode.IsNumber(r), unicode.Is(unicode.Sc, r):
		case strings.ContainsRune(`!"&'(),-./:;?_«»„“”‘’…–—§`, r):
		default:
			return false
		}
	}
	return strings.TrimSpace(text) != "" && !addresses.MatchString(text)
}

// mostRepeated is how many words in a row of somebody's text a reason may have.
const mostRepeated = 5

// repeats reports whether a reason has more words in a row of a text of the rows than
// chance allows: then it is that text that speaks.
func (a *asked) repeats(reason string) bool {
	said := " " + strings.Join(lettersOf(reason), " ") + " "
	for _, r := range a.evidence.shown {
		for _, v := range r.row {
			text, _ := v.(string)
			words := lettersOf(text)
			for i := 0; i+mostRepeated < len(words); i++ {
				if strings.Contains(said, " "+strings.Join(words[i:i+mostRepeated+1], " ")+" ") {
					return true
				}
			}
		}
	}
	return false
}

func lettersOf(text string) []string {
	return strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) })
}
