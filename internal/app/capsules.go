package app

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"patchbay/internal/fault"
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
	known, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return CapsuleKey{}, fmt.Errorf("making a key for capsules: %w", err)
	}
	if err := os.WriteFile(file+".pub", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: known}), 0o644); err != nil {
		return CapsuleKey{}, fmt.Errorf("keeping the key for capsules: %w", err)
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600); err != nil {
		return CapsuleKey{}, fmt.Errorf("keeping the key for capsules: %w", err)
	}
	return CapsuleKey{private}, nil
}

// private implements the key of package decision. A process that has none waits for one: what
// is decided is sealed, or not decided.
func (k CapsuleKey) private() (ed25519.PrivateKey, error) {
	if k.key == nil {
		return nil, fault.New(fault.Unavailable, "capsule.key", "this process has no key to sign decisions with; start it with --capsule-key FILE", nil)
	}
	return k.key, nil
}
