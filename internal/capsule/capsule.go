package capsule

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"patchbay/calculator"
	"patchbay/internal/fault"
	"patchbay/internal/strictjson"
)

// Format is what the first field says, and a part of what is signed.
const Format = "patchbay.capsule.v1"

type (
	// Capsule is a decision and everything it follows from.
	Capsule struct {
		Format   string        `json:"format"`
		Run      string        `json:"run"`
		Flow     string        `json:"flow"`
		Plan     string        `json:"plan"` // digest
		Inputs   []Input       `json:"inputs"`
		Computed []Computation `json:"computed"`
		// Rules are what the rules are, and Gaps what gave nothing they could decide from; Ruling is
		// what they said, and Opinions what people said where the rules left it to them.
		Rules    json.RawMessage `json:"rules,omitempty"`
		Gaps     json.RawMessage `json:"gaps,omitempty"`
		Ruling   json.RawMessage `json:"ruling,omitempty"`
		Opinions []Opinion       `json:"opinions,omitempty"`
		Decision Decision        `json:"decision"`
	}

	// Input is what a source said.
	Input struct {
		Name   string          `json:"name"`
		Source string          `json:"source"` // the system's identity
		AsOf   time.Time       `json:"as_of"`  // when it was true, in UTC
		Data   json.RawMessage `json:"data"`
		// Substitute is why a substitute stands in the place of what the source did not say.
		Substitute string `json:"substitute,omitempty"`
	}

	// Computation is what one calculator made of it. Task is what the flow calls it.
	Computation struct {
		Task     string          `json:"task,omitempty"`
		Name     string          `json:"name"`
		Version  string          `json:"version"`
		Contract string          `json:"contract"` // its digest
		Model    string          `json:"model"`    // its digest, "" where there is none
		Seed     string          `json:"seed"`     // decimal: JSON's numbers are too small for some readers
		Input    json.RawMessage `json:"input"`
		Output   json.RawMessage `json:"output"`
	}

	// Decision is what was decided, by rules or by a person.
	Decision struct {
		Outcome string    `json:"outcome"`
		Reasons []string  `json:"reasons"` // in words for customers
		Rules   string    `json:"rules"`   // digest
		By      string    `json:"by"`      // "rules", "deadline", or who decided
		At      time.Time `json:"at"`      // in UTC
	}

	// Opinion is what one person said.
	Opinion struct {
		By       string    `json:"by"`
		Decision string    `json:"decision"`
		Reason   string    `json:"reason"`
		At       time.Time `json:"at"` // in UTC
	}

	// sealed is the file.
	sealed struct {
		Capsule   json.RawMessage `json:"capsule"`
		Key       string          `json:"key"` // the first 16 digits of the SHA-256 of the public key: which one to look for
		Signature string          `json:"signature"`
	}
)

// KeyID names a public key, to find it by.
func KeyID(key ed25519.PublicKey) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:8])
}

// signed is what the signature is of: no other kind of text can be taken for it.
func signed(capsule []byte) []byte { return append([]byte(Format+"\n"), capsule...) }

// Seal signs a capsule and gives its file: canonical JSON, one line.
func Seal(c Capsule, key ed25519.PrivateKey) ([]byte, error) {
	if len(key) != ed25519.PrivateKeySize {
		return nil, fault.Invalidf("capsule.key", "the key is no ed25519 private key")
	}
	c.Format = Format
	body, err := text(c)
	if err != nil {
		return nil, fault.New(fault.Invalid, "capsule.data", "the capsule holds what is no JSON", err)
	}
	public := ed25519.PublicKey(key[ed25519.PrivateKeySize-ed25519.PublicKeySize:])
	return text(sealed{Capsule: body, Key: KeyID(public), Signature: hex.EncodeToString(ed25519.Sign(key, signed(body)))})
}

// Open verifies a file against the keys that are trusted, and reads it. Errors are Invalid
// faults: capsule.format when it is no capsule in canonical form, capsule.key when none of the keys
// has made it, capsule.signature when it was changed.
func Open(file []byte, trusted ...ed25519.PublicKey) (Capsule, error) {
	c, s, err := read(file)
	if err != nil {
		return Capsule{}, err
	}
	signature, err := hex.DecodeString(s.Signature)
	if err != nil {
		return Capsule{}, fault.Invalidf("capsule.signature", "the signature is none")
	}
	for _, key := range trusted {
		if len(key) != ed25519.PublicKeySize || KeyID(key) != s.Key {
			continue
		}
		if !ed25519.Verify(key, signed(s.Capsule), signature) {
			return Capsule{}, fault.Invalidf("capsule.signature", "the signature does not fit: the capsule was changed after it was sealed")
		}
		return c, nil
	}
	return Capsule{}, fault.Invalidf("capsule.key", "none of the trusted keys has made this capsule")
}

// Read reads a file without looking at who has made it: what is in it may be anybody's. Errors are
// capsule.format as of Open.
func Read(file []byte) (Capsule, error) {
	c, _, err := read(file)
	return c, err
}

func read(file []byte) (c Capsule, s sealed, err error) {
	if err := strictjson.Unmarshal(file, &s); err != nil {
		return c, s, fault.New(fault.Invalid, "capsule.format", "this is no capsule", err)
	}
	if same, err := text(s); err != nil || !bytes.Equal(same, file) {
		return c, s, fault.Invalidf("capsule.format", "this is no capsule in its canonical form: it was changed, or written by something else")
	}
	if err := strictjson.Unmarshal(s.Capsule, &c); err != nil || c.Format != Format {
		return Capsule{}, s, fault.New(fault.Invalid, "capsule.format", "the capsule is of another format than "+Format, err)
	}
	return c, s, nil
}

// Rerun computes everything in the capsule again and compares bit for bit. It gives nil when all
// is equal; else a fault: calculator.unknown, capsule.contract or capsule.model when the
// version is not the one that computed, capsule.differs when the output is another.
func Rerun(ctx context.Context, c Capsule, calculators *calculator.Registry) error {
	for i, was := range c.Computed {
		path := fault.AtIndex("computed", i)
		with, err := calculators.Find(was.Name, was.Version)
		if err != nil {
			return err
		}
		if with.Contract().Digest() != was.Contract {
			return fault.Invalidf("capsule.contract", "%s: %s %s has another contract here", path, was.Name, was.Version)
		}
		if with.Model() != was.Model {
			return fault.Invalidf("capsule.model", "%s: %s %s has another model here", path, was.Name, was.Version)
		}
		again, err := Compute(ctx, with, was.Input, was.Seed)
		if err != nil {
			return fmt.Errorf("computing %s again: %w", path, err)
		}
		if !bytes.Equal(again.Output, was.Output) {
			return fault.Invalidf("capsule.differs", "%s: %s %s gives another output now: %s differ", path, was.Name, was.Version,
				strings.Join(calculator.Differences(again.Output, was.Output), ", "))
		}
	}
	return nil
}

// Compute runs a calculator and records it. The seed is a decimal number of 64 bits.
func Compute(ctx context.Context, with calculator.Calculator, input []byte, seed string) (Computation, error) {
	var number uint64
	if _, err := fmt.Sscan(seed, &number); err != nil || fmt.Sprint(number) != seed {
		return Computation{}, fault.Invalidf("capsule.seed", "the seed is no decimal number of 64 bits")
	}
	in, err := calculator.Canonical(input)
	if err != nil {
		return Computation{}, err
	}
	out, err := with.Compute(ctx, in, calculator.Run{Seed: number})
	return Computation{Name: with.Name(), Version: with.Version(), Contract: with.Contract().Digest(), Model: with.Model(), Seed: seed, Input: in, Output: out}, err
}

func text(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return calculator.Canonical(b)
}
