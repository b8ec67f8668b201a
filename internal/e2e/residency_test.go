//go:build residency

package e2e

import (
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"patchbay/flows"
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
	wires  []*residency.Wire // from the regions to their systems
}

// startRegions runs the example flows, of which one shares smaller records, and the
// regions speak to their systems over lines that keep what goes over them.
func startRegions(t *testing.T, values int, names string) *regions {
	t.Helper()
	dir := dataDir(t)
	r := &regions{set: residency.New(values), tokens: map[string]string{}}
	port, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	sandbox := port.Addr().String()
	require.NoError(t, port.Close())
	_, number, err := net.SplitHostPort(sandbox)
	require.NoError(t, err)

	files := filepath.Join(dir, "flows")
	require.NoError(t, os.CopyFS(files, flows.Files))
	edit := func(name, old, now string) {
		b, err := os.ReadFile(filepath.Join(files, name))
		require.NoError(t, err)
		require.Contains(t, string(b), old)
		require.NoError(t, os.WriteFile(filepath.Join(files, name), []byte(strings.ReplaceAll(string(b), old, now)), 0o600))
	}
	edit("account-sync.yaml", "expect: { lag: 30s }", fmt.Sprintf("expect: { lag: 30s }\nmax_row: %d\n", mostShared))
	for region := range strings.SplitSeq(names, ",") {
		system := r.wire(t, "dataverse-"+region, sandbox)
		edit("connections.yaml", "${env:PATCHBAY_SANDBOX}/dataverse-"+region, "http://"+system.Address()+"/dataverse-"+region)
	}
	r.patchbay = start(t, dir, "--flows", files, "--regions", names, "--verbose", "--sandbox-port", number)
	r.locate()
	require.Len(t, r.where.Regions, strings.Count(names, ",")+1)
	return r
}

// wire opens a line to a server, which ends with the test.
func (r *regions) wire(t *testing.T, name, server string) *residency.Wire {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "lines", name)
	require.NoError(t, os.MkdirAll(dir, 0o700))
	w, err := residency.Record(t.Context(), server, dir)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.Close()) })
	r.wires = append(r.wires, w)
	return w
}

// locate learns from dev.json where everything is by now.
func (r *regions) locate() {
	r.t.Helper()
	require.True(r.t, r.reread())
	b, err := os.ReadFile(filepath.Join(r.dir, "dev.json"))
	require.NoError(r.t, err)
	require.NoError(r.t, json.Unmarshal(b, &r.where))
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
// restricted, so that not even that of the planted values may have one. (Traces are none
// of it: Patchbay sends none.)
func (r *regions) everything(set *residency.Set, memory bool) residency.Report {
	r.t.Helper()
	ctx := r.t.Context()
	scanner := set.Scanner()
	require.NoError(r.t, scanner.Database(ctx, "database", r.where.Database))
	told := 0
	for name, region := range r.where.Regions {
		require.NoError(r.t, scanner.Database(ctx, "database of "+name, region.Database))
		r.files(scanner, region.Database)
		require.NoError(r.t, scanner.HTTP(ctx, region.HTTP+"/metrics"))
		told += r.metrics(scanner, "temporal-"+name, region.Metrics)
		r.temporal(scanner, name, region.Temporal)
	}
	r.temporal(scanner, "no region", r.Temporal)
	require.Positive(r.t, told, "some Temporal tells of itself")
	for _, w := range r.wires {
		require.NoError(r.t, scanner.Wire(w))
	}
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

// metrics scans what a Temporal server tells of itself, and reports whether it does (1).
// The port that was chosen for that may be another process's by the time the server binds
// it; the server goes on without it then, and what that other process tells is not ours.
func (r *regions) metrics(scanner *residency.Scanner, child, address string) int {
	r.t.Helper()
	u, err := url.Parse(address)
	require.NoError(r.t, err)
	for _, c := range r.Children {
		if c.Name != child {
			continue
		}
		if !listens(r.t, c.PID)[u.Port()] {
			r.t.Logf("%s does not listen on port %s of its metrics", child, u.Port())
			return 0
		}
		require.NoError(r.t, scanner.HTTP(r.t.Context(), address))
		return 1
	}
	require.Fail(r.t, "no such child", child)
	return 0
}

// listens gives the ports that a process listens on.
func listens(t *testing.T, pid int) map[string]bool {
	t.Helper()
	held := map[string]bool{}
	descriptors, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	require.NoError(t, err)
	for _, fd := range descriptors {
		if to, err := os.Readlink(fd); err == nil {
			held[strings.TrimSuffix(strings.TrimPrefix(to, "socket:["), "]")] = true
		}
	}
	ports := map[string]bool{}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		b, err := os.ReadFile(table)
		require.NoError(t, err)
		for line := range strings.SplitSeq(string(b), "\n") {
			const local, state, inode, listen = 1, 3, 9, "0A"
			if f := strings.Fields(line); len(f) > inode && f[state] == listen && held[f[inode]] {
				port, err := strconv.ParseUint(f[local][strings.LastIndexByte(f[local], ':')+1:], 16, 16)
				require.NoError(t, err)
				ports[strconv.FormatUint(port, 10)] = true
			}
		}
	}
	return ports
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

// What is scanned is scanned soon, whatever became of what was planted: the suite of
// mutants that leak, which need not get far.
func TestNothingIsFoundAfterAShortWhile(t *testing.T) {
	t.Parallel()
	r := startRegions(t, 100, "de,fr")
	r.plant()
	began := time.Now()
	r.seldom("in fr, or in vain", time.Minute, func() bool { return r.name("fr", "PLANT-8") != "" || time.Since(began) > 25*time.Second })
	r.conflict("de", "fr")
	began = time.Now()
	r.await("a while later", time.Minute, func() bool { return time.Since(began) > 8*time.Second })
	report := r.everything(r.set, true)
	require.Zero(t, report.Total(), "%s", report)
	t.Log(report)
}

// What must not leave is in no database, log, history, metric, mail, call or memory of any
// Patchbay, while what may leave arrives; and what leaks is found, whichever way it takes.
func TestNothingThatIsRestrictedLeavesItsRegion(t *testing.T) {
	t.Parallel()
	r := startRegions(t, *planted, "de,fr,ch")
	r.plant()
	last := fmt.Sprintf("PLANT-%d", (r.set.Len()-4)/4*4)
	for _, region := range []string{"fr", "ch"} {
		r.seldom("in "+region, 2*time.Minute, func() bool { return r.name(region, last) != "" })
	}

	r.provoke()

	source := r.set.Scanner()
	require.NoError(t, source.Database(t.Context(), "the sandbox", strings.Replace(r.where.Database, "/patchbay?", "/sandbox?", 1)))
	require.Equal(t, r.set.Len()-2, source.Report().Found(), "the scanner finds what there is; the record of two values was deleted")

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
