package capsule_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/calculator"
	"patchbay/internal/capsule"
	"patchbay/internal/fault"
	"patchbay/internal/risk/calculators"
	"patchbay/internal/risk/stress"
)

var capsules = flag.Int("capsules", 100, "how many are computed again")

func key(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

func public(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

func registry(t testing.TB, more ...calculator.Calculator) *calculator.Registry {
	all, err := calculators.All()
	require.NoError(t, err)
	r, err := calculator.Register(append(all, more...)...)
	require.NoError(t, err)
	return r
}

// decided is a decision that a score and a simulation led to.
func decided(t testing.TB, r *calculator.Registry, n int) capsule.Capsule {
	applicant := fmt.Sprintf(`{"words": {"housing": "tenant"}, "figures": {"employment_months": %d, "payment_percent": 36, "card_use_percent": %d,
		"inquiries_6m": 1, "arrears_24m": %d, "savings_months": 2.5, "customer_months": 40}}`, n%480, n%110, n%3)
	question, err := json.Marshal(calculators.Simulation{Question: stress.Example(), Paths: 2048, Level: 0.95})
	require.NoError(t, err)
	c := capsule.Capsule{
		Run: fmt.Sprint("run-", n), Flow: "loan-qualification", Plan: "sha256:plan",
		Inputs: []capsule.Input{{Name: "bureau", Source: "bureau.example", AsOf: time.Date(2026, 5, 1, 9, 30, 0, 0, time.UTC), Data: json.RawMessage(`{"arrears": 1, "name": "Zoë <&> 😀"}`)}},
		Decision: capsule.Decision{
			Outcome: "refer", Reasons: []string{"Use of card and overdraft limits: 88 per cent or more."}, Rules: "sha256:rules", By: "rules",
			At: time.Date(2026, 5, 1, 9, 31, 0, 0, time.UTC),
		},
	}
	for name, input := range map[string][]byte{"risk.score": []byte(applicant), "risk.stress": question} {
		with, err := r.Find(name, "v1")
		require.NoError(t, err)
		done, err := capsule.Compute(t.Context(), with, input, fmt.Sprint(uint64(n)+1<<63))
		require.NoError(t, err)
		c.Computed = append(c.Computed, done)
	}
	return c
}

func TestACapsuleComesBackAndComputesTheSame(t *testing.T) {
	t.Parallel()
	r := registry(t)
	for n := range *capsules {
		file, err := capsule.Seal(decided(t, r, n), key(1))
		require.NoError(t, err)
		c, err := capsule.Open(file, public(key(2)), public(key(1)))
		require.NoError(t, err)
		require.NoError(t, capsule.Rerun(t.Context(), c, r))
		again, err := capsule.Seal(c, key(1))
		require.NoError(t, err)
		require.Equal(t, file, again, "the same decision is the same file")
	}
}

// A thousand ways to touch a file, each of which is found before anything in it is believed.
func TestEveryTamperingIsDetected(t *testing.T) {
	t.Parallel()
	file, err := capsule.Seal(decided(t, registry(t), 7), key(1))
	require.NoError(t, err)
	random := rand.New(rand.NewPCG(1, 2))
	for n := range 1000 {
		touched := bytes.Clone(file)
		at := random.IntN(len(touched))
		switch n % 5 {
		case 0:
			touched[at] ^= 1 << random.IntN(8)
		case 1:
			touched = append(touched[:at], touched[at+1:]...)
		case 2:
			touched = append(touched[:at], append([]byte(" \n\"0{,"[n%6:n%6+1]), touched[at:]...)...)
		case 3: // a digit becomes another
			for touched[at] < '0' || touched[at] > '9' {
				at = (at + 1) % len(touched)
			}
			touched[at] = '0' + (touched[at]-'0'+1+byte(n%9))%10
		case 4:
			touched = touched[:at]
		}
		if bytes.Equal(touched, file) {
			touched = touched[1:]
		}
		c, err := capsule.Open(touched, public(key(1)))
		var f *fault.Fault
		require.ErrorAs(t, err, &f, "tampering %d at %d", n, at)
		require.Equal(t, fault.Invalid, f.Class)
		require.Contains(t, []string{"capsule.format", "capsule.key", "capsule.signature"}, f.Code)
		require.Zero(t, c)
	}
}

func TestOnlyATrustedKeyCounts(t *testing.T) {
	t.Parallel()
	c := decided(t, registry(t), 1)
	forged, err := capsule.Seal(c, key(9))
	require.NoError(t, err)
	for name, trusted := range map[string][]ed25519.PublicKey{"none": nil, "another": {public(key(1))}, "a short one": {public(key(9))[:31]}} {
		_, err = capsule.Open(forged, trusted...)
		var f *fault.Fault
		require.ErrorAs(t, err, &f, name)
		require.Equal(t, "capsule.key", f.Code)
	}
	claimed := []byte(strings.Replace(string(forged), capsule.KeyID(public(key(9))), capsule.KeyID(public(key(1))), 1))
	_, err = capsule.Open(claimed, public(key(1)))
	require.ErrorContains(t, err, "capsule.signature")
	_, err = capsule.Seal(c, nil)
	require.ErrorContains(t, err, "capsule.key")
}

type amount struct {
	Value float64 `json:"value"`
}

func TestAnotherCalculatorIsNotTakenForTheOneThatComputed(t *testing.T) {
	t.Parallel()
	factor := func(by float64, options ...calculator.Option) calculator.Calculator {
		return calculator.New("acme.times", "v1", func(_ context.Context, in amount, _ calculator.Run) (amount, error) {
			return amount{in.Value * by}, nil
		}, options...)
	}
	was, err := capsule.Compute(t.Context(), factor(2), []byte(`{"value": 21.0}`), "1")
	require.NoError(t, err)
	require.JSONEq(t, `{"value": 42}`, string(was.Output))
	c := capsule.Capsule{Computed: []capsule.Computation{was}}
	require.NoError(t, capsule.Rerun(t.Context(), c, registry(t, factor(2))))
	require.ErrorContains(t, capsule.Rerun(t.Context(), c, registry(t, factor(3))), "capsule.differs")
	require.ErrorContains(t, capsule.Rerun(t.Context(), c, registry(t, factor(2, calculator.Model("m")))), "capsule.model")
	require.ErrorContains(t, capsule.Rerun(t.Context(), c, registry(t)), "calculator.unknown")
	other := calculator.New("acme.times", "v1", func(_ context.Context, in struct {
		Value  float64 `json:"value"`
		Factor *int    `json:"factor"`
	}, _ calculator.Run,
	) (amount, error) {
		return amount{in.Value * 2}, nil
	})
	require.ErrorContains(t, capsule.Rerun(t.Context(), c, registry(t, other)), "capsule.contract")
	_, err = capsule.Compute(t.Context(), factor(2), []byte(`{"value": 1}`), "007")
	require.ErrorContains(t, err, "capsule.seed")
}
