package residency

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"math/big"
)

type (
	// Set is some planted values.
	Set struct {
		prefix string
		tokens []string         // the prefix and 32 digits
		byID   map[[16]byte]int // what the digits say, to the place in tokens
	}
)

// The prefix is of characters whose codes are written with decimal digits alone, as
// are those of the token's hexadecimal digits: a dump in upper and lower case is then
// the same, and neither + nor / occurs in base64.
const (
	prefixLetters = "ghipqrstuvwxy"
	prefixLen     = 12
	digitsLen     = 32
	tokenLen      = prefixLen + digitsLen
)

// sentences are what planted values look like. The token comes early: a message that
// shows the first forty characters of a value shows some of it.
var sentences = []string{
	"%s Diagnose: Diabetes mellitus Typ 2 (E11.9), Kontrolle in 6 Wochen",
	"Pat. %s, geb. 1957-03-11, Zustand nach Hüft-TEP links",
	"ID %s / essai clinique, bras B, anémie légère",
	"%s",
}

// New makes a number of values.
func New(n int) *Set {
	prefix := make([]byte, prefixLen)
	for i := range prefix {
		at, _ := rand.Int(rand.Reader, big.NewInt(int64(len(prefixLetters)))) // it never fails
		prefix[i] = prefixLetters[at.Int64()]
	}
	s := &Set{prefix: string(prefix), byID: make(map[[16]byte]int, n)}
	for i := range n {
		var id [16]byte
		_, _ = rand.Read(id[:]) // it never fails
		s.byID[id] = i
		s.tokens = append(s.tokens, s.prefix+hex.EncodeToString(id[:]))
	}
	return s
}

// Len is how many values there are.
func (s *Set) Len() int { return len(s.tokens) }

// Token gives the recognisable part of a value: 44 characters, a-z and 0-9.
func (s *Set) Token(i int) string { return s.tokens[i] }

// Text gives the whole of a value, at most 120 bytes.
func (s *Set) Text(i int) string { return fmt.Sprintf(sentences[i%len(sentences)], s.tokens[i]) }

// Label names a value without showing it.
func Label(i int) string {
	if i < 0 {
		return "torn"
	}
	return fmt.Sprintf("value %d", i)
}

// which reads a token at the beginning of b, which begins with the prefix. It is -1 when
// the token is torn, or none of these.
func (s *Set) which(b []byte) int {
	if len(b) < tokenLen {
		return torn
	}
	var id [16]byte
	if _, err := hex.Decode(id[:], b[prefixLen:tokenLen]); err != nil {
		return torn
	}
	if i, ok := s.byID[id]; ok {
		return i
	}
	return torn
}

// torn stands for a value of which too little is left to say which it is.
const torn = -1
