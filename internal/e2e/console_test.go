package e2e

import (
	"flag"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
	"patchbay/internal/web/browser"
)

var shots = flag.String("shots", "", "directory for screenshots of the console")

// look takes a picture where -shots asks for one.
func look(tab *browser.Tab, name string, width, height int64, scheme string) {
	if *shots != "" {
		tab.Look(width, height, scheme)
		tab.Shoot(filepath.Join(*shots, name+".png"))
	}
}

func TestAPersonPressesTheButtonSeesTheRowsAndFindsTheRunInTemporal(t *testing.T) {
	t.Parallel()
	p, tab := start(t, dataDir(t)), browser.New(t)
	p.fault("dataverse", `{"latency_ms":1500,"rate":1,"method":"POST"}`)
	tab.Go(p.HTTP + "/flows/product-specs")
	look(tab, "form", 1280, 800, "light")
	tab.Click("[data-use-sample]")
	tab.Until(`document.querySelector("#p-product_id")?.value === "AS54888"`)
	tab.Click("#press [type=submit]")
	tab.Shows("#live [data-part=answer]", "Display size")
	tab.Shows("#live [data-part=effects]", "Writing to Dataverse")
	look(tab, "writing", 1280, 800, "light")
	tab.Shows("#press", "Completed")
	look(tab, "done", 1280, 800, "light")
	look(tab, "done-dark", 1280, 800, "dark")
	look(tab, "done-phone", 390, 844, "light")
	require.NotEmpty(t, p.specifications("AS54888"), "and Dataverse has what the page says")

	tab.Click("#live [data-part=address] a")
	tab.Shows("h1", "written to Dataverse once.")
	look(tab, "run", 1280, 800, "light")
	var page struct {
		Runs []flow.Run `json:"runs"`
	}
	p.do(http.MethodGet, p.HTTP+"/v1/runs?limit=1", nil, "", &page)
	require.Len(t, page.Runs, 1)
	link := browser.Value[string](tab, `[...document.querySelectorAll("a")].map(a => a.href).find(h => h.includes("/namespaces/")) || ""`)
	require.True(t, strings.HasPrefix(link, p.UI), "the run leads into the Temporal Web UI: %q", link)
	tab.Go(link)
	tab.Shows("body", "1 press of product-specs")
	tab.Shows("body", page.Runs[0].RunID)
	look(tab, "temporal", 1280, 800, "light")
}

func TestAPersonCancelsWhileOracleIsSlow(t *testing.T) {
	t.Parallel()
	p, tab := start(t, dataDir(t)), browser.New(t)
	p.fault("oracle", `{"path":"itemsV2","latency_ms":12000,"rate":1}`)
	tab.Go(p.HTTP + "/flows/product-specs?product_id=AS54888")
	tab.Click("#press [type=submit]")
	tab.Shows("#press", "Reading from Oracle PLM")
	began := time.Now()
	tab.Click("#press [data-cancel]")
	tab.Shows("#press", "Cancelled")
	require.Less(t, time.Since(began), 9*time.Second, "a cancel does not wait for the slow system")
	require.Empty(t, p.specifications("AS54888"))
	look(tab, "cancelled", 1280, 800, "light")
}

func TestAFailureSaysWhatFailedAndWhetherTryingAgainHelps(t *testing.T) {
	t.Parallel()
	p, tab := start(t, dataDir(t)), browser.New(t)
	tab.Go(p.HTTP + "/flows/product-specs?product_id=NO-SUCH-PRODUCT")
	tab.Click("#press [type=submit]")
	tab.Shows("#press", "Failed")
	tab.Shows("#live [data-part=problem]", "items")
	look(tab, "failed", 1280, 800, "light")
	look(tab, "failed-phone", 390, 844, "dark")
}
