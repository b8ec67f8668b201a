package check_test

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/check"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/flowfile"
)

// asDeclared describes every table as connections.yaml does; change makes it differ.
func asDeclared(change func(c flow.Connection, table string, s *check.Shape) (*check.Shape, error)) check.Describe {
	return func(_ context.Context, c flow.Connection, table string) (*check.Shape, error) {
		t := c.Tables[table]
		s := &check.Shape{Columns: map[string]flow.Type{}, Keys: t.Keys}
		for name, kind := range t.Columns {
			s.Columns[name] = kind
		}
		return change(c, table, s)
	}
}

func online(t *testing.T, ask check.Describe) (problems []flowfile.Diagnostic) {
	t.Helper()
	before := run(t, files(t, nil), check.Options{Name: "flows"})
	require.Empty(t, before.Problems)
	after := check.Online(t.Context(), before, ask)
	require.Empty(t, before.Problems, "the report of before stays as it was")
	return after.Problems
}

func TestSystemsThatAreAsDeclaredLeaveNothingToSay(t *testing.T) {
	t.Parallel()
	require.Empty(t, online(t, asDeclared(func(_ flow.Connection, _ string, s *check.Shape) (*check.Shape, error) { return s, nil })))
}

func TestWhatOneRegionLacksIsSaidWhereItIsShared(t *testing.T) {
	t.Parallel()
	got := online(t, asDeclared(func(c flow.Connection, table string, s *check.Shape) (*check.Shape, error) {
		if c.Name == "dataverse-fr" && table == "account" {
			delete(s.Columns, "telephone1")
			s.Keys = [][]string{{"accountid"}}
		}
		return s, nil
	}))
	require.Len(t, got, 2)
	for _, d := range got {
		require.Equal(t, "flows/account-sync.yaml", d.File)
		require.Equal(t, flowfile.Error, d.Severity)
	}
	require.Equal(t, "table account of dataverse-fr has no unique key over accountnumber", got[0].Message)
	require.Equal(t, "table account of dataverse-fr has no column telephone1", got[1].Message)
	require.Equal(t, "telephone1", at(t, got[1]))
}

func TestWhatDiffersIsSaidWhereItIsUsed(t *testing.T) {
	t.Parallel()
	got := online(t, asDeclared(func(c flow.Connection, table string, s *check.Shape) (*check.Shape, error) {
		switch table {
		case "items":
			delete(s.Columns, "ItemDescription") // selected
			delete(s.Columns, "ItemClass")       // declared and not used
			s.Columns["itemclass"] = flow.String
			s.Columns["PrimaryUOMValue"] = flow.Int // not used: nobody minds
		case "msx_specification":
			s.Columns["msx_value"] = flow.Decimal
			s.Columns["msx_new"] = flow.String
			s.Keys = [][]string{{"msx_specificationid"}, {"msx_productnumber"}}
		}
		return s, nil
	}))
	byCode := map[string][]flowfile.Diagnostic{}
	for _, d := range got {
		byCode[d.Code] = append(byCode[d.Code], d)
		require.Positive(t, d.Line)
	}
	gone := byCode[check.CodeGone]
	require.Len(t, gone, 2)
	require.Equal(t, flowfile.Warning, gone[0].Severity, "connections.yaml declares what no flow uses")
	require.Equal(t, "flows/connections.yaml", gone[0].File)
	require.Equal(t, "it is called itemclass", gone[0].Fix)
	require.Equal(t, flowfile.Error, gone[1].Severity)
	require.Equal(t, "flows/product-specs.yaml", gone[1].File)
	require.Contains(t, gone[1].Message, "ItemDescription")
	require.Equal(t, "ItemDescription", at(t, gone[1]), "the very word of the list")

	require.Len(t, byCode[check.CodeChanged], 1)
	require.Equal(t, "table msx_specification of dataverse has msx_value as decimal, not as string", byCode[check.CodeChanged][0].Message)
	require.Equal(t, "string", at(t, byCode[check.CodeChanged][0]))

	require.Len(t, byCode[check.CodeNoKey], 1)
	require.Equal(t, "flows/product-specs.yaml", byCode[check.CodeNoKey][0].File)
	require.Contains(t, byCode[check.CodeNoKey][0].Fix, "[msx_productnumber]")

	gained := byCode[check.CodeGained]
	require.Len(t, gained, 2)
	require.Equal(t, []flowfile.Severity{flowfile.Info, flowfile.Info}, []flowfile.Severity{gained[0].Severity, gained[1].Severity})
	require.Contains(t, gained[1].Message, "msx_new")
}

// at is the word at the place of a problem.
func at(t *testing.T, d flowfile.Diagnostic) string {
	t.Helper()
	data := files(t, nil)[strings.TrimPrefix(d.File, "flows/")].Data
	line := strings.Split(string(data), "\n")[d.Line-1]
	word, _, _ := strings.Cut(strings.TrimLeft(string([]rune(line)[d.Col-1:]), "["), ",")
	return strings.TrimRight(strings.Fields(word)[0], "]")
}

func TestASystemThatCannotBeAskedHidesNoOther(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	got := online(t, asDeclared(func(c flow.Connection, table string, s *check.Shape) (*check.Shape, error) {
		if c.Name == "dataverse" {
			asked.Add(1)
			return nil, fault.New(fault.Unavailable, "vendor.unreachable", "nobody answers", nil)
		}
		delete(s.Columns, "ItemNumber")
		return s, nil
	}))
	require.EqualValues(t, 1, asked.Load(), "what is wrong with one table of it is wrong with all")
	require.Equal(t, []string{check.CodeUnreachable, check.CodeGone}, []string{got[0].Code, got[1].Code})
	require.Equal(t, "dataverse could not be asked: nobody answers", got[0].Message)
	require.Equal(t, "flows/connections.yaml", got[0].File)
}

func TestATableThatIsGoneAndASystemThatSaysNothingAreNamed(t *testing.T) {
	t.Parallel()
	got := online(t, asDeclared(func(c flow.Connection, table string, s *check.Shape) (*check.Shape, error) {
		switch {
		case c.Name == "oracle-plm":
			return nil, nil
		case table == "incident":
			return nil, fault.New(fault.Rejected, "dataverse.unknown_resource", "it has no such table", nil)
		}
		return s, nil
	}))
	codes := make([]string, len(got))
	for i, d := range got {
		codes[i] = d.Code
	}
	slices.Sort(codes)
	require.Equal(t, []string{check.CodeNoTable, check.CodeUnsaid}, codes)
}
