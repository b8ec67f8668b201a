package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const how = "\nIf it is meant: go run ./internal/risk/train data|card|report"

func TestTheDataAreWhatTheProgramMakes(t *testing.T) {
	t.Parallel()
	require.True(t, bytes.Equal(loans, sample()), "loans.csv is not what `train data` prints%s", how)
	require.Equal(t, header, strings.Split(string(loans), "\n")[0])
}

func TestTheScorecardIsWhatTheProgramMakes(t *testing.T) {
	t.Parallel()
	want, err := os.ReadFile("../scorecard/card.json")
	require.NoError(t, err)
	got, err := card(loans)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got), how)
}

func TestTheTablesOfTheDocumentAreWhatTheProgramMakes(t *testing.T) {
	t.Parallel()
	document, err := os.ReadFile("../../../docs/risk.md")
	require.NoError(t, err)
	got, err := report(loans)
	require.NoError(t, err)
	for table := range strings.SplitSeq(strings.TrimSpace(string(got)), "\n\n") {
		require.Contains(t, string(document), table, how)
	}
}

func TestACardOfOtherDataIsAnother(t *testing.T) {
	t.Parallel()
	committed, err := card(loans)
	require.NoError(t, err)
	lines := strings.Split(string(loans), "\n")
	other, err := card([]byte(strings.Join(append(lines[:1:1], lines[801:]...), "\n")))
	require.NoError(t, err)
	require.NotEqual(t, committed, other)
	_, err = card([]byte("a,b\n"))
	require.ErrorContains(t, err, "1 lines of 2 columns, not of 9")
	_, err = card(bytes.Replace(loans, []byte("\n42,"), []byte("\nforty,"), 1))
	require.ErrorContains(t, err, "line 2, employment_months")
}
