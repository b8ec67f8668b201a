package config

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

func TestAReferenceIsReplacedAndOneWithoutAValueIsNamedNeverShown(t *testing.T) {
	t.Setenv("PATCHBAY_TEST_SECRET", "s3cret")
	path := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(path, []byte("from-file\n"), 0o600))
	for text, want := range map[string]string{
		"plain":                               "plain",
		"${env:PATCHBAY_TEST_SECRET}/x":       "s3cret/x",
		"a${file:" + path + "}b":              "afrom-fileb",
		"${env:PATCHBAY_TEST_SECRET}${other}": "s3cret${other}",
	} {
		got, err := Resolve(text)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for text, names := range map[string]string{
		"${env:PATCHBAY_TEST_SECRET}${env:PATCHBAY_TEST_NONE}": "PATCHBAY_TEST_NONE",
		"${file:/no/such/file}":                                "/no/such/file",
		"${vault:x}":                                           "vault:x",
	} {
		_, err := Resolve(text)
		require.Equal(t, fault.Invalid, fault.Of(err).Class)
		require.Contains(t, err.Error(), names)
		require.NotContains(t, err.Error(), "s3cret")
	}
}

func TestAKeyIsFoundByItsDigestAndEveryWrongLineIsNamed(t *testing.T) {
	t.Parallel()
	sum := sha256.Sum256([]byte("the-key"))
	digest := hex.EncodeToString(sum[:])
	keys, err := parseKeys(strings.NewReader("# keys\n\nerp-app "+digest+" press # the ERP\n"), "keys")
	require.NoError(t, err)
	p, ok := keys.Principal("the-key")
	require.True(t, ok)
	require.Equal(t, flow.Principal{Name: "key:erp-app", Role: flow.RolePress}, p)
	_, ok = keys.Principal("the-keY")
	require.False(t, ok)
	_, ok = keys.Principal("")
	require.False(t, ok)

	_, err = parseKeys(strings.NewReader("a b\nUPPER "+digest+" press\nx zz press\ny "+digest+" king\n"), "keys")
	var f *fault.Fault
	require.ErrorAs(t, err, &f)
	require.Len(t, f.Fields, 4, "%s", err)
	require.Equal(t, "keys:1", f.Fields[0].Path)
	_, err = parseKeys(strings.NewReader("# nothing\n"), "keys")
	require.Equal(t, "keys.empty", fault.Of(err).Code)
}
