package app

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"patchbay/calculator"
	"patchbay/internal/capsule"
	"patchbay/internal/decision"
	"patchbay/internal/fault"
	"patchbay/internal/risk/calculators"
	"patchbay/internal/ruling"
)

// CapsuleKey is the key that signs capsules.
type CapsuleKey struct{ key ed25519.PrivateKey }

// LoadCapsuleKey reads an ed25519 private key: PKCS #8 in PEM, as openssl genpkey -algorithm
// ed25519 writes it.
func LoadCapsuleKey(file string) (CapsuleKey, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return CapsuleKey{}, fault.New(fault.Invalid, "capsule.key", "the key that signs capsules cannot be read", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return CapsuleKey{}, fault.Invalidf("capsule.key", "%s holds no PEM; make a key by: openssl genpkey -algorithm ed25519 -out %s", file, file)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(ed25519.PrivateKey)
	if err != nil || !ok {
		return CapsuleKey{}, fault.Invalidf("capsule.key", "%s holds no ed25519 private key; make one by: openssl genpkey -algorithm ed25519 -out %s", file, file)
	}
	return CapsuleKey{key}, nil
}

// devCapsuleKey reads the key of an environment of this machine, or makes it: the private key,
// and beside it the public one that capsules are verified with (file.pub).
func devCapsuleKey(file string) (CapsuleKey, error) {
	if k, err := LoadCapsuleKey(file); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return CapsuleKey{}, fmt.Errorf("making a key for capsules: %w", err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return CapsuleKey{}, fmt.Errorf("making a key for capsules: %w", err)
	}
	known, err := encodePublic(public)
	if err != nil {
		return CapsuleKey{}, err
	}
	if err := os.WriteFile(file+".pub", known, 0o644); err != nil { //nolint:gosec // a public key
		return CapsuleKey{}, fmt.Errorf("keeping the key for capsules: %w", err)
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600); err != nil {
		return CapsuleKey{}, fmt.Errorf("keeping the key for capsules: %w", err)
	}
	return CapsuleKey{private}, nil
}

// Public gives the key that capsules are verified with: PKIX in PEM. NotFound
// "capsule.no_key" when this process signs nothing.
func (k CapsuleKey) Public() ([]byte, error) {
	if k.key == nil {
		return nil, fault.NotFoundf("capsule.no_key", "this process has no key that signs decisions")
	}
	return encodePublic(ed25519.PublicKey(k.key[ed25519.PrivateKeySize-ed25519.PublicKeySize:]))
}

func encodePublic(key ed25519.PublicKey) ([]byte, error) {
	known, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding the key for capsules: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: known}), nil
}

// loadPublicKey reads what Public gives.
func loadPublicKey(file string) (ed25519.PublicKey, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fault.New(fault.Invalid, "capsule.key", "the key "+file+" cannot be read", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fault.Invalidf("capsule.key", "%s holds no PEM; GET /v1/capsule-key of the Patchbay that sealed it gives the public key", file)
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	key, ok := parsed.(ed25519.PublicKey)
	if err != nil || !ok {
		return nil, fault.Invalidf("capsule.key", "%s holds no ed25519 public key; GET /v1/capsule-key of the Patchbay that sealed it gives one", file)
	}
	return key, nil
}

// VerifyCapsule reads a capsule that one of the keys in files has sealed. Its errors are
// those of capsule.Open, and capsule.key when a key cannot be read.
func VerifyCapsule(file []byte, keys ...string) (capsule.Capsule, error) {
	trusted := make([]ed25519.PublicKey, len(keys))
	for i, name := range keys {
		var err error
		if trusted[i], err = loadPublicKey(name); err != nil {
			return capsule.Capsule{}, err
		}
	}
	return capsule.Open(file, trusted...)
}

// RerunCapsule computes everything in a capsule again and applies its rules again, of what is
// in it alone, with the calculators of this program. Errors name what differs.
func RerunCapsule(ctx context.Context, c capsule.Capsule) error {
	all, err := calculators.All()
	if err != nil {
		return err
	}
	registry, err := calculator.Register(all...)
	if err != nil {
		return err
	}
	if err := capsule.Rerun(ctx, c, registry); err != nil {
		return err
	}
	return ruling.Again(c)
}

// ReadCapsule reads a capsule without looking at who has sealed it.
func ReadCapsule(file []byte) (capsule.Capsule, error) { return capsule.Read(file) }

// private implements the key of package decision. A process that has none waits for one: what
// is decided is sealed, or not decided.
func (k CapsuleKey) private() (ed25519.PrivateKey, error) {
	if k.key == nil {
		return nil, fault.New(fault.Unavailable, "capsule.key", "this process has no key to sign decisions with; start it with --capsule-key FILE", nil)
	}
	return k.key, nil
}

// capsules implements httpapi.Capsules.
type capsules struct {
	*decision.Decisions
	CapsuleKey
}
