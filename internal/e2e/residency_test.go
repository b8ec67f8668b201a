//go:build residency

package e2e

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"patchbay/internal/residency"
)

// How many values are planted, and whether the memory of Temporal's servers is scanned
// beside that of Patchbay: make residency has 10,000, and does.
var (
	planted = flag.Int("residency-values", 1000, "recognisable values in columns that must not leave their region")
	servers = flag.Bool("residency-servers", false, "scan the memory of Temporal's servers, too")
)

// regions is `patchbay dev` with three regions, and what is planted in the first.
type regions struct {
	*patchbay
	where struct {
		Database string
		Cluster  string
		Regions  map[string]struct{ HTTP, Temporal, Database, Metrics string }
	}
	set    *residency.Set
	tokens map[string]string // of the organisations, by region
}

func startRegions(t *testing.T) *regions {
	t.Helper()
	r := &regions{patchbay: start(t, dataDir(t), "--regions", "de,fr,ch", "--verbose"), set: residency.New(*planted), tokens: map[string]string{}}
	b, err := os.ReadFile(filepath.Join(r.dir, "dev.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &r.where))
	require.Len(t, r.where.Regions, 3)
	return r
}

// dataverse speaks to the organisation of a region as its people's app does.
func (r *regions) dataverse(region, method, path string, body any) (int, map[string]any) {
	r.t.Helper()
	if r.tokens[region] == "" {
		form := url.Values{"grant_type": {"client_credentials"}, "client_id": {"service-desk-" + region}, "client_secret": {"sandbox-secret-" + region}, "scope": {r.Sandbox + "/dataverse-" + region + "/.default"}}
		answer, err := http.PostForm(r.Sandbox+"/login/contoso/oauth2/v2.0/token", form)
		require.NoError(r.t, err)
		defer answer.Body.Close()
		var token struct {
			AccessToken string `json:"access_token"`
		}
		require.NoError(r.t, json.NewDecoder(answer.Body).Decode(&token))
		require.NotEmpty(r.t, token.AccessToken)
		r.tokens[region] = token.AccessToken
	}
	text := ""
	if body != nil {
		b, err := json.Marshal(body)
		require.NoError(r.t, err)
		text = string(b)
	}
	var out map[string]any
	var into any
	if method == http.MethodGet {
		into = &out
	}
	resp := r.do(method, r.Sandbox+"/dataverse-"+region+"/api/data/v9.2/"+path, http.Header{"Authorization": {"Bearer " + r.tokens[region]}}, text, into)
	return resp.StatusCode, out
}

// plant writes the values into what must not leave de: diagnoses, patients' numbers and
// free text, of new accounts and contacts.
func (r *regions) plant() {
	r.t.Helper()
	for from := 0; from < r.set.Len(); from += 1000 {
		var accounts, contacts []map[string]any
		for i := from; i+3 < min(from+1000, r.set.Len()); i += 4 {
			accounts = append(accounts, map[string]any{"@odata.type": "Microsoft.Dynamics.CRM.account", "accountnumber": fmt.Sprintf("PLANT-%d", i),
				"name": fmt.Sprintf("Planted %d", i), "msx_diagnosis": r.set.Text(i), "description": r.set.Text(i + 1)})
			contacts = append(contacts, map[string]any{"@odata.type": "Microsoft.Dynamics.CRM.contact", "msx_contactnumber": fmt.Sprintf("PLANT-%d", i),
				"fullname": fmt.Sprintf("Planted %d", i), "msx_patientid": r.set.Token(i + 2), "description": r.set.Text(i + 3)})
		}
		for set, rows := range map[string][]map[string]any{"accounts": accounts, "contacts": contacts} {
			status, _ := r.dataverse("de", http.MethodPost, set+"/Microsoft.Dynamics.CRM.CreateMultiple", map[string]any{"Targets": rows})
			require.Equal(r.t, http.StatusOK, status)
		}
	}
}

// edit changes an account of a region by its number.
func (r *regions) edit(region, number string, values map[string]any) {
	r.t.Helper()
	status, _ := r.dataverse(region, http.MethodPatch, "accounts(accountnumber='"+number+"')", values)
	require.Less(r.t, status, 300)
}

// everything scans what Patchbay has and sends in every region: no region reads what is
// restricted, so that not even that of the planted values may have one.
func (r *regions) everything(set *residency.Set, memory bool) residency.Report {
	r.t.Helper()
	ctx := r.t.Context()
	scanner := set.Scanner()
	require.NoError(r.t, scanner.Database(ctx, "database", r.where.Database))
	for name, region := range r.where.Regions {
		require.NoError(r.t, scanner.Database(ctx, "database of "+name, region.Database))
		r.files(scanner, region.Database)
		require.NoError(r.t, scanner.HTTP(ctx, region.HTTP+"/metrics"))
		require.NoError(r.t, scanner.HTTP(ctx, region.Metrics))
		r.temporal(scanner, name, region.Temporal)
	}
	r.temporal(scanner, "no region", r.Temporal)
	require.NoError(r.t, scanner.HTTP(ctx, r.HTTP+"/metrics"))
	require.NoError(r.t, scanner.HTTP(ctx, r.Sandbox+"/_sandbox/mail"))
	for name := range r.where.Regions {
		require.NoError(r.t, scanner.HTTP(ctx, r.Sandbox+"/_sandbox/calls/dataverse-"+name+"?since=0&limit=10000"))
	}
	// Files of the whole environment but the cluster, which the sandbox has a part of:
	// Temporal's databases, logs, and whatever somebody left there.
	entries, err := os.ReadDir(r.dir)
	require.NoError(r.t, err)
	for _, e := range entries {
		path := filepath.Join(r.dir, e.Name())
		switch {
		case path == r.where.Cluster:
		case e.IsDir():
			require.NoError(r.t, scanner.Dir(path))
		default:
			require.NoError(r.t, scanner.File(path))
		}
	}
	if !memory {
		return scanner.Report()
	}
	require.NoError(r.t, scanner.Process(r.cmd.Process.Pid))
	for _, child := range r.Children {
		if strings.HasPrefix(child.Name, "region-") || *servers && strings.HasPrefix(child.Name, "temporal") {
			require.NoError(r.t, scanner.Process(child.PID))
		}
	}
	return scanner.Report()
}

// files scans the pages and the write-ahead log of one database of the cluster.
func (r *regions) files(scanner *residency.Scanner, database string) {
	r.t.Helper()
	conn, err := pgx.Connect(r.t.Context(), database)
	require.NoError(r.t, err)
	defer func() { _ = conn.Close(r.t.Context()) }()
	_, err = conn.Exec(r.t.Context(), `checkpoint`)
	require.NoError(r.t, err)
	var oid uint32
	require.NoError(r.t, conn.QueryRow(r.t.Context(), `select oid from pg_database where datname = current_database()`).Scan(&oid))
	data := filepath.Join(r.where.Cluster, "data")
	require.NoError(r.t, scanner.Dir(filepath.Join(data, "base", fmt.Sprint(oid))))
	require.NoError(r.t, scanner.WriteAhead(data, oid))
}

func (r *regions) temporal(scanner *residency.Scanner, name, address string) {
	r.t.Helper()
	c, err := client.DialContext(r.t.Context(), client.Options{HostPort: address})
	require.NoError(r.t, err)
	defer c.Close()
	require.NoError(r.t, scanner.Temporal(r.t.Context(), "Temporal of "+name, c, "default"))
}

// name gives the name of an account of a region; "": there is none.
func (r *regions) name(region, number string) string {
	r.t.Helper()
	_, page := r.dataverse(region, http.MethodGet, "accounts?$select=name&$filter="+url.PathEscape("accountnumber eq '"+number+"'"), nil)
	for _, row := range page["value"].([]any) {
		name, _ := row.(map[string]any)["name"].(string)
		return name
	}
	return ""
}

// seldom is await for what an organisation is asked, which allows so many calls only.
func (r *regions) seldom(what string, within time.Duration, ok func() bool) {
	r.t.Helper()
	next := time.Now()
	r.await(what, within, func() bool {
		if time.Now().Before(next) {
			return false
		}
		next = time.Now().Add(time.Second)
		return ok()
	})
}

// What must not leave is in no database, log, history, metric, mail, call or memory of any
// Patchbay, while what may leave arrives; and what leaks is found, whichever way it takes.
func TestNothingThatIsRestrictedLeavesItsRegion(t *testing.T) {
	t.Parallel()
	r := startRegions(t)
	r.plant()
	last := fmt.Sprintf("PLANT-%d", (r.set.Len()-4)/4*4)
	for _, region := range []string{"fr", "ch"} {
		r.seldom("in "+region, 2*time.Minute, func() bool { return r.name(region, last) != "" })
	}

	// Edits of both kinds of columns, in two regions at once, while the systems fail.
	r.do(http.MethodPut, r.Sandbox+"/_sandbox/faults/dataverse-fr", nil, `{"status":503,"rate":0.5,"count":10}`, nil)
	r.edit("de", "PLANT-0", map[string]any{"name": "Edited", "msx_diagnosis": r.set.Text(0) + " (2)", "telephone1": "+49 1"})
	r.edit("de", "PLANT-4", map[string]any{"description": r.set.Text(5) + " (2)"})
	r.edit("ch", "PLANT-8", map[string]any{"telephone1": "+41 1"})
	r.edit("de", "PLANT-8", map[string]any{"telephone1": "+49 2", "description": r.set.Text(9) + " (2)"})
	r.edit("de", "PLANT-12", map[string]any{"name": strings.Repeat("long ", 31), "msx_diagnosis": r.set.Text(12) + " (2)"})
	began := time.Now()
	r.await("tried", time.Minute, func() bool { return time.Since(began) > 3*time.Second })
	r.do(http.MethodDelete, r.Sandbox+"/_sandbox/faults/dataverse-fr", nil, "", nil)
	r.seldom("edited in fr", time.Minute, func() bool { return r.name("fr", "PLANT-0") == "Edited" })

	source := r.set.Scanner()
	require.NoError(t, source.Database(t.Context(), "the sandbox", strings.Replace(r.where.Database, "/patchbay?", "/sandbox?", 1)))
	require.Equal(t, r.set.Len(), source.Report().Found(), "the scanner finds what there is")

	report := r.everything(r.set, true)
	require.Zero(t, report.Total(), "%s", report)
	require.Greater(t, report.Bytes, int64(100_000_000))
	t.Log(report)

	leaks := residency.New(len(leaking))
	for i, l := range leaking {
		l.leak(t, r, leaks.Text(i), leaks.Token(i))
	}
	var missed []string
	r.seldom("written", 20*time.Second, func() bool { // visibility, and logs, come a little later
		found := r.everything(leaks, false)
		missed = missed[:0]
		for i, l := range leaking {
			if !found.Has(i) {
				missed = append(missed, l.way)
			}
		}
		return len(missed) == 0 || !slices.Contains(missed, "search attribute")
	})
	require.Empty(t, missed, "leaks that the scanner does not find")
}
