// Package browser drives a real Chromium for tests of pages.
//
// New gives a test a tab of its own in a fresh browser; the methods of Tab wait
// for what they name, never for a while. It is imported by
// tests of the console and of the whole binary, and imports chromedp alone.
//
// Invariants: a missing Chromium fails the test and names the line that
// installs it, it never skips; a page that throws, or breaks its own
// Content-Security-Policy, fails the test that looked at it; the browser ends
// with its test.
package browser

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// patience bounds a whole test in the browser; nothing waits that long when all
// is well.
const patience = 4 * time.Minute

// names of the browser in the order they are looked for.
var names = []string{"chromium", "chromium-browser", "google-chrome"}

// Tab is one tab of a browser. It is also the context that chromedp's own
// actions take. Its methods fail the test they were made for.
type Tab struct {
	context.Context //nolint:containedctx // a tab is a context to chromedp; nothing else is stored

	t testing.TB
}

// New starts a headless browser and returns its one tab, 1280 by 800.
func New(tb testing.TB) *Tab {
	tb.Helper()
	path := ""
	for _, name := range names {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		tb.Fatal("no Chromium in PATH; install it with: apt-get install -y chromium")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:len(chromedp.DefaultExecAllocatorOptions):len(chromedp.DefaultExecAllocatorOptions)],
		chromedp.ExecPath(path), chromedp.DisableGPU, chromedp.WindowSize(1280, 800), chromedp.UserDataDir(tb.TempDir()))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium has no sandbox for root
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience) // outlives t.Context, so that the browser closes in order
	ctx, end := chromedp.NewExecAllocator(ctx, options...)
	tab, _ := chromedp.NewContext(ctx)
	require.NoError(tb, chromedp.Do(tab), "starting %s", path)

	complaints := watch(tab)
	tb.Cleanup(func() {
		_ = chromedp.Cancel(tab) // the process is ended below in any case
		end()
		cancel()
		require.Empty(tb, complaints(), "what the page complained about")
	})
	return &Tab{Context: tab, t: tb}
}

// watch collects exceptions and policy violations of the tab.
func watch(tab context.Context) func() []string {
	var (
		mu  sync.Mutex
		all []string
	)
	messages := chromedp.Console(tab)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for m, err := range messages {
			if err != nil {
				return
			}
			policy := m.Source == "security" || strings.Contains(m.Text, "Content Security Policy")
			if m.IsException() || policy {
				mu.Lock()
				all = append(all, m.String())
				mu.Unlock()
			}
		}
	}()
	return func() []string {
		<-done
		mu.Lock()
		defer mu.Unlock()
		return all
	}
}

// Go opens a page and waits until it has loaded. A page that is about to load itself again, as it does after an answer,
// may take the place of the one asked for: that one is asked for again.
func (tab *Tab) Go(url string) {
	tab.t.Helper()
	err := chromedp.Do(tab, chromedp.Navigate(url))
	for range 5 {
		if err == nil || !strings.Contains(err.Error(), "net::ERR_ABORTED") {
			break
		}
		err = chromedp.Do(tab, chromedp.Navigate(url))
	}
	require.NoError(tab.t, err, url)
}

// Text is what an element shows, once it is visible.
func (tab *Tab) Text(selector string) string {
	tab.t.Helper()
	text, err := chromedp.Run(tab, chromedp.Text(chromedp.CSS(selector)))
	require.NoError(tab.t, err, selector)
	return strings.Join(strings.Fields(text), " ")
}

// Shows waits until an element shows the text, across a navigation too.
func (tab *Tab) Shows(selector, text string) {
	tab.t.Helper()
	tab.Until("(document.querySelector(" + quote(selector) + ")?.innerText || '').replace(/\\s+/g, ' ').includes(" + quote(text) + ")")
}

// Until waits until an expression holds in the page, across a navigation too.
func (tab *Tab) Until(expression string) {
	tab.t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		holds, err := chromedp.Run(tab, chromedp.Evaluate[bool](expression))
		if err == nil && holds {
			return
		}
		select {
		case <-again.C:
		case <-deadline.C:
			shown, lost := chromedp.Run(tab, chromedp.Evaluate[string]("document.body.innerText"))
			if lost != nil {
				shown = lost.Error()
			}
			tab.t.Fatalf("it never held that %s (%v); the page shows:\n%s", expression, err, shown)
		}
	}
}

// quote writes s as a JavaScript string.
func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil { // a string can be encoded
		panic(err)
	}
	return string(b)
}

// Value evaluates an expression in the page.
func Value[T any](tab *Tab, expression string) T {
	tab.t.Helper()
	v, err := chromedp.Run(tab, chromedp.Evaluate[T](expression))
	require.NoError(tab.t, err, expression)
	return v
}

// Click presses an element, once it is visible. A node that the page replaced
// while it was looked up is looked up again: nothing has been pressed then.
func (tab *Tab) Click(selector string) {
	tab.t.Helper()
	var err error
	for range 20 {
		err = chromedp.Do(tab, chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
		if err == nil || !strings.Contains(err.Error(), "Could not find node") {
			break
		}
	}
	require.NoError(tab.t, err, selector)
}

// Type writes into an input.
func (tab *Tab) Type(selector, text string) {
	tab.t.Helper()
	require.NoError(tab.t, chromedp.Do(tab, chromedp.SendKeys(chromedp.CSS(selector), text)), selector)
}

// Look sets the size of the page and the colour scheme that its user prefers.
func (tab *Tab) Look(width, height int64, scheme string) {
	tab.t.Helper()
	_, err := chromedp.Call(tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	require.NoError(tab.t, err)
	require.NoError(tab.t, chromedp.Do(tab, chromedp.EmulateViewport(width, height)))
}

// Shoot writes what the tab shows to a PNG file.
func (tab *Tab) Shoot(file string) {
	tab.t.Helper()
	png, err := chromedp.Run(tab, chromedp.FullScreenshot(100))
	require.NoError(tab.t, err)
	require.NoError(tab.t, os.WriteFile(file, png, 0o644))
}
