package app

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"patchbay/flows"
	"patchbay/internal/config"
	"patchbay/internal/connector"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// exampleFiles are the example flows with a URL per region that has no value here.
func exampleFiles(t *testing.T) fstest.MapFS {
	t.Helper()
	files := fstest.MapFS{}
	entries, err := flows.Files.ReadDir(".")
	require.NoError(t, err)
	for _, e := range entries {
		data, err := flows.Files.ReadFile(e.Name())
		require.NoError(t, err)
		files[e.Name()] = &fstest.MapFile{Data: data}
	}
	text := string(files["connections.yaml"].Data)
	front, fr, found := strings.Cut(text, "  dataverse-fr:\n")
	require.True(t, found)
	text = front + "  dataverse-fr:\n" + strings.Replace(fr, "    tables:\n", "    tables:\n      msx_specification: { path: s, keys: [[msx_productnumber, msx_attribute]], "+
		"columns: { msx_productnumber: string, msx_attribute: string, msx_value: string, msx_unit: string } }\n", 1)
	for _, r := range []string{"fr", "ch"} {
		own := "    url: ${env:PATCHBAY_SANDBOX}/dataverse-" + r + "\n"
		require.Contains(t, text, own)
		text = strings.Replace(text, own, "    url: ${env:PATCHBAY_TEST_URL_"+strings.ToUpper(r)+"}\n", 1)
	}
	files["connections.yaml"].Data = []byte(text)
	return files
}

func TestARegionPutsInForceWhatItMayDialAndResolvesNothingOfAnother(t *testing.T) {
	t.Parallel()
	files := exampleFiles(t)
	// A flow of one region alone.
	files["of-fr.yaml"] = &fstest.MapFile{Data: []byte(strings.ReplaceAll(strings.Replace(string(files["product-specs.yaml"].Data), "flow: product-specs", "flow: of-fr", 1),
		"dataverse.msx_specification", "dataverse-fr.msx_specification"))}
	names, err := Regions(files)
	require.NoError(t, err)
	require.Equal(t, []string{"ch", "de", "fr"}, names)

	compiled, report, err := compileAll(files, "flows", 1, "de") // the URLs of fr and ch have no value in this process
	require.NoError(t, err)
	inForce := applying{region: "de"}.choose(compiled, report)
	var have []string
	for _, p := range inForce.plans {
		have = append(have, p.Flow)
		if p.Sync != nil {
			require.Equal(t, "dataverse sandbox/dataverse-de", p.Bindings["dataverse-de"].Identity)
			require.Equal(t, "dataverse ${env:PATCHBAY_TEST_URL_FR}", p.Bindings["dataverse-fr"].Identity, "by the text of the reference")
		}
	}
	require.Contains(t, have, "account-sync")
	require.Contains(t, have, "product-specs")
	require.NotContains(t, have, "of-fr")
	require.Equal(t, []string{"of-fr is not in force here: connection dataverse-fr belongs to region fr"}, inForce.elsewhere)

	shared := applying{region: "de", shared: true}.choose(compiled, report)
	require.Len(t, shared.plans, 1)
	of := map[string]string{}
	for _, c := range shared.connections {
		of[c.Name] = c.Region
	}
	require.Equal(t, map[string]string{"dataverse-de": "de", "dataverse-fr": "fr", "dataverse-ch": "ch"}, of, "and none that it has no use for")
	for _, line := range unresolved(shared.connections, "de", config.Resolve) {
		require.NotContains(t, line, "dataverse-fr")
		require.NotContains(t, line, "dataverse-ch")
	}
}

func TestASystemIsInOneRegion(t *testing.T) {
	t.Parallel()
	files := exampleFiles(t)
	second := strings.Replace(string(files["account-sync.yaml"].Data), "flow: account-sync", "flow: second", 1)
	files["second.yaml"] = &fstest.MapFile{Data: []byte(strings.Replace(second, "de: dataverse-de, fr: dataverse-fr", "de: dataverse-fr, fr: dataverse-de", 1))}
	text := string(files["connections.yaml"].Data) // without where they are, which would tell
	files["connections.yaml"].Data = []byte(strings.NewReplacer("    region: de\n", "", "    region: fr\n", "").Replace(text))
	_, _, err := compileAll(files, "flows", 1, "de")
	require.Equal(t, "flows.region", fault.Of(err).Code)
}

// applied are connections as a region has them.
type applied map[string]flow.Connection

func (a applied) Connection(_ context.Context, name string) (flow.Connection, error) {
	return a[name], nil
}

func TestAProcessDialsNoConnectionOfAnotherRegion(t *testing.T) {
	t.Parallel()
	asked := []string{}
	resolve := func(text string) (string, error) {
		asked = append(asked, text)
		return "https://crm.example.com", nil
	}
	all := applied{}
	for _, name := range []string{"de", "fr", ""} {
		all["crm-"+name] = flow.Connection{Name: "crm-" + name, System: "crm", Region: name, URL: "${env:URL_" + name + "}"}
	}
	known := connector.New(map[string]connector.Builder{"crm": func(connector.Config, connector.Deps) (any, error) { return "dialled", nil }})
	plan := &flow.Plan{Bindings: map[string]flow.Binding{}}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		plan.Bindings[name] = flow.Binding{System: "crm", Identity: "crm https://crm.example.com"}
	}
	for of, may := range map[string][]string{"de": {"crm-", "crm-de"}, "fr": {"crm-", "crm-fr"}, "": {"crm-"}} {
		s := newSystems(all, nil, known, resolve, 1)
		s.region = of
		for name := range all {
			asked = nil
			_, byPlan := s.open(t.Context(), plan, name)
			_, byName := s.current(t.Context(), name)
			if slices.Contains(may, name) {
				require.NoError(t, byPlan)
				require.NoError(t, byName)
				continue
			}
			for _, err := range []error{byPlan, byName} {
				require.Equal(t, CodeForeign, fault.Of(err).Code)
				require.Contains(t, fault.Of(err).Text, "connection "+name+" belongs to region")
			}
			require.Empty(t, asked, "nothing of it is resolved")
		}
	}

	// The plan of a run says whose it is, whatever the connection says by now.
	c := all["crm-fr"]
	c.Region = ""
	s := newSystems(applied{"crm-fr": c}, nil, known, resolve, 1)
	s.region = "de"
	plan.Sync = &flow.Sync{Regions: []flow.Region{{Name: "fr", Connection: "crm-fr"}}}
	_, err := s.open(t.Context(), plan, "crm-fr")
	require.Equal(t, CodeForeign, fault.Of(err).Code)
}
