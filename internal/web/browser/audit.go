package browser

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// axeVersion is the axe-core that tools/install fetches into the user's cache.
const axeVersion = "4.14.1"

// rules reads axe-core, which is no part of this repository.
func rules(tb testing.TB) string {
	tb.Helper()
	cache, err := os.UserCacheDir()
	require.NoError(tb, err)
	path := filepath.Join(cache, "patchbay", "axe-core-"+axeVersion, "axe.min.js")
	script, err := os.ReadFile(path)
	if err != nil {
		tb.Fatalf("no axe-core at %s; fetch it with: tools/install axe-core", path)
	}
	return string(script)
}

// Audit gives each thing on the page, as it is now, that keeps people from using it:
// what axe-core finds serious or critical of WCAG 2.2 A and AA and of its best
// practices.
func (tab *Tab) Audit() (findings []string) {
	tab.t.Helper()
	_, err := chromedp.Run(tab, chromedp.Evaluate[bool](rules(tab.t)+"\n;typeof axe.run === 'function'"))
	require.NoError(tab.t, err, "loading axe-core")
	found, err := chromedp.Run(tab, chromedp.Evaluate[string](`axe.run(document, {resultTypes: ["violations", "passes"]}).then(all => JSON.stringify({passes: all.passes.length,
		found: all.violations.filter(v => ["serious", "critical"].includes(v.impact)).map(v => ({id: v.id, help: v.help, nodes: v.nodes.map(n => n.target.join(" ") + ": " + n.failureSummary)}))}))`,
		chromedp.EvalAwaitPromise))
	require.NoError(tab.t, err, "auditing")
	var report struct {
		Passes int
		Found  []struct {
			ID, Help string
			Nodes    []string
		}
	}
	require.NoError(tab.t, json.Unmarshal([]byte(found), &report))
	require.Greater(tab.t, report.Passes, 10, "an audit of nothing finds nothing")
	for _, f := range report.Found {
		findings = append(findings, f.ID+": "+f.Help+"\n  "+strings.Join(f.Nodes, "\n  "))
	}
	return findings
}
