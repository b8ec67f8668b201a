package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRunWithASkippedTestIsNotGood(t *testing.T) {
	t.Parallel()
	report, printed := read(t,
		`{"Action":"run","Package":"p","Test":"TestA"}`,
		`{"Action":"pass","Package":"p","Test":"TestA"}`,
		`{"Action":"output","Package":"p","Test":"TestB","Output":"    b_test.go:3: no browser\n"}`,
		`{"Action":"skip","Package":"p","Test":"TestB"}`,
		`{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}`,
		`{"Action":"pass","Package":"p"}`,
	)
	require.False(t, report.Good())
	require.Equal(t, &Report{Passed: 1, Packages: 1, Skipped: []string{"p.TestB"}}, report)
	require.Equal(t, "    b_test.go:3: no browser\nok  \tp\t0.1s\n", printed, "the reason for the skip and the closing line")
	require.Contains(t, report.String(), "SKIPPED p.TestB")
}

func TestFailingTestsShowWhatTheySaidAndPassingOnesDoNot(t *testing.T) {
	t.Parallel()
	report, printed := read(t,
		`{"Action":"output","Package":"p","Test":"TestA","Output":"quiet\n"}`,
		`{"Action":"output","Package":"p","Test":"TestB","Output":"=== RUN   TestB\n"}`,
		`{"Action":"output","Package":"p","Test":"TestB","Output":"loud\n"}`,
		`{"Action":"fail","Package":"p","Test":"TestB"}`,
		`{"Action":"pass","Package":"p","Test":"TestA"}`,
		`{"Action":"output","Package":"p","Output":"FAIL\n"}`,
		`{"Action":"output","Package":"p","Output":"FAIL\tp\t0.1s\n"}`,
		`{"Action":"fail","Package":"p"}`,
	)
	require.False(t, report.Good())
	require.Equal(t, []string{"p.TestB"}, report.Failed, "the package is no second failure")
	require.Equal(t, "loud\nFAIL\tp\t0.1s\nFAIL\n", printed)
}

func TestAProcessThatEndsShowsWhatItsTestsWereDoing(t *testing.T) {
	t.Parallel()
	report, printed := read(t,
		`{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}`,
		`{"Action":"output","Package":"p","Test":"TestA","Output":"goroutine 1 waits\n"}`,
		`{"Action":"output","Package":"q","Test":"TestC","Output":"another package's\n"}`,
		`{"Action":"output","Package":"p","Output":"FAIL\tp\t30.1s\n"}`,
		`{"Action":"fail","Package":"p"}`,
	)
	require.Equal(t, []string{"p"}, report.Failed)
	require.Equal(t, "FAIL\tp\t30.1s\nUNENDED p.TestA\ngoroutine 1 waits\n", printed)
}

func TestBuildThatBreaksIsAFailureWithItsReason(t *testing.T) {
	t.Parallel()
	report, printed := read(t,
		`{"ImportPath":"p","Action":"build-output","Output":"p.go:1:1: undefined: x\n"}`,
		`{"ImportPath":"p","Action":"build-fail"}`,
		`{"Action":"output","Package":"p","Output":"FAIL\tp [build failed]\n"}`,
		`{"Action":"fail","Package":"p"}`,
	)
	require.Equal(t, []string{"p"}, report.Failed)
	require.Equal(t, "p.go:1:1: undefined: x\nFAIL\tp [build failed]\n", printed)
}

func TestPackageWithoutTestsIsNoSkipAndOtherLinesPassThrough(t *testing.T) {
	t.Parallel()
	report, printed := read(t,
		`starting PostgreSQL`,
		`{"Action":"output","Package":"q","Output":"?   \tq\t[no test files]\n"}`,
		`{"Action":"skip","Package":"q"}`,
		`{"Action":"pass","Package":"p","Test":"TestA"}`,
		`{"Action":"pass","Package":"p"}`,
	)
	require.True(t, report.Good())
	require.Equal(t, "starting PostgreSQL\n?   \tq\t[no test files]\n", printed)
	require.Equal(t, "1 tests passed in 1 packages, 0 failed, 0 skipped", report.String())
}

func TestRunWithoutAnyTestIsNotGood(t *testing.T) {
	t.Parallel()
	report, _ := read(t)
	require.False(t, report.Good(), "a run that never started must not look like a clean one")
}

func TestSlowTestsAreNamedTheSlowestFirst(t *testing.T) {
	t.Parallel()
	report, _ := read(t,
		`{"Action":"pass","Package":"p","Test":"TestShort","Elapsed":0.2}`,
		`{"Action":"pass","Package":"p","Test":"TestLong","Elapsed":2}`,
		`{"Action":"pass","Package":"p","Test":"TestLonger/part","Elapsed":30}`,
		`{"Action":"pass","Package":"p","Test":"TestLonger","Elapsed":31.25}`,
	)
	require.Equal(t, "  31.2 s p.TestLonger\n   2.0 s p.TestLong\n4 tests passed in 0 packages, 0 failed, 0 skipped", report.String())
}

func TestFewFailuresBesideOthersMayBeTriedAloneAndBugsMayNot(t *testing.T) {
	t.Parallel()
	fails := func(test string, said ...string) (lines []string) {
		for _, s := range said {
			lines = append(lines, `{"Action":"output","Package":"p","Test":"`+test+`","Output":"`+s+`\n"}`)
		}
		return append(lines, `{"Action":"fail","Package":"p","Test":"`+test+`"}`)
	}
	ends := `{"Action":"fail","Package":"p"}`
	alone := func(lines ...string) []string {
		report, _ := read(t, lines...)
		require.False(t, report.Good())
		return report.Alone()
	}
	late := fails("TestA", "too late")
	require.Equal(t, []string{"p TestA"}, alone(append(late, ends)...))
	require.Equal(t, []string{"p TestA"}, alone(append(append(fails("TestA/part", "too late"), late...), ends)...), "with all its parts")
	require.Empty(t, alone(append(fails("TestA", "WARNING: DATA RACE"), ends)...))
	require.Empty(t, alone(append(fails("TestA/part", "panic: no"), append(late, ends)...)...))
	require.Empty(t, alone(ends), "outside its tests")
	require.Empty(t, alone(append(late, ends, `{"Action":"fail","Package":"q"}`)...), "another did not build")
	var many []string
	for i := range mostAlone + 1 {
		test := fmt.Sprint("Test", i)
		many = append(many, fails(test)...)
	}
	require.Empty(t, alone(append(many, ends)...))
}

func read(t *testing.T, lines ...string) (*Report, string) {
	t.Helper()
	var out strings.Builder
	report, err := Read(strings.NewReader(strings.Join(lines, "\n")+"\n"), &out)
	require.NoError(t, err)
	return report, out.String()
}
