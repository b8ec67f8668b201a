package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"patchbay/flows"
	"patchbay/internal/check"
	"patchbay/internal/connector"
	"patchbay/internal/connector/dataverse"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/flowfile"
	"patchbay/internal/sandbox"
	"patchbay/internal/store/storetest"
)

// company is the sandbox of a company with regional organisations, its database and the
// connections of the example to them. The stand-in and its tables are the judge.
type company struct {
	t       *testing.T
	url     string
	db      *pgx.Conn
	regions map[string]*dataverse.Dataverse
}

func newCompany(t *testing.T) *company {
	t.Helper()
	database := storetest.Empty(t)
	s, err := sandbox.New(t.Context(), sandbox.Options{DatabaseURL: database, Products: 10})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	delivered := make(chan error, 1)
	go func() { delivered <- s.Deliver(t.Context()) }() // the context ends before the cleanups
	t.Cleanup(func() { <-delivered })
	c := &company{t: t, url: server.URL, regions: map[string]*dataverse.Dataverse{}}
	c.db, err = pgx.Connect(t.Context(), database)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.db.Close(t.Context()) })
	for _, region := range []string{"de", "fr", "ch"} {
		c.regions[region] = c.dial("dataverse-"+region, nil)
		require.NoError(t, c.regions[region].Probe(t.Context()))
	}
	return c
}

// dial opens a connection of the example; change may make it another.
func (c *company) dial(name string, change func(*connector.Config)) *dataverse.Dataverse {
	c.t.Helper()
	report, err := check.Dir(flows.Files, check.Options{Name: "flows", Compile: flowfile.Options{Identity: func(x flow.Connection) (string, error) { return x.Name, nil }}})
	require.NoError(c.t, err)
	i := slices.IndexFunc(report.Connections, func(x flow.Connection) bool { return x.Name == name })
	require.NotEqual(c.t, -1, i)
	values := map[string]string{"PATCHBAY_SANDBOX": c.url, "PATCHBAY_SANDBOX_SECRET": sandboxSecret}
	for _, region := range []string{"de", "fr", "ch"} {
		values["PATCHBAY_SANDBOX_SECRET_"+strings.ToUpper(region)] = sandboxSecret + "-" + region
	}
	config := connectorConfig(report.Connections[i], 1)
	if change != nil {
		change(&config)
	}
	client := connector.NewClient()
	c.t.Cleanup(client.CloseIdleConnections)
	v, err := dataverse.New(config, connector.Deps{Client: client, Resolve: func(text string) (string, error) {
		return os.Expand(strings.ReplaceAll(text, "${env:", "${"), func(name string) string { return values[name] }), nil
	}})
	require.NoError(c.t, err)
	return v
}

func (c *company) exec(sql string, args ...any) {
	c.t.Helper()
	_, err := c.db.Exec(c.t.Context(), sql, args...)
	require.NoError(c.t, err)
}

func (c *company) number(sql string, args ...any) (n int) {
	c.t.Helper()
	require.NoError(c.t, c.db.QueryRow(c.t.Context(), sql, args...).Scan(&n))
	return n
}

func (c *company) faults(region, rule string) {
	c.t.Helper()
	method := http.MethodPut
	if rule == "" {
		method = http.MethodDelete
	}
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.url+"/_sandbox/faults/dataverse-"+region, strings.NewReader(rule))
	require.NoError(c.t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(c.t, err)
	require.NoError(c.t, res.Body.Close())
	require.Less(c.t, res.StatusCode, 300)
}

var (
	byAccount = []string{"accountnumber"}
	byContact = []string{"msx_contactnumber"}
)

func numbers(column string, values ...string) []connector.Row {
	rows := make([]connector.Row, len(values))
	for i, v := range values {
		rows[i] = connector.Row{column: v}
	}
	return rows
}

// versions are those of rows now.
func versions(t *testing.T, v *dataverse.Dataverse, table string, key []string, keys []connector.Row) []string {
	t.Helper()
	rows, err := v.ReadVersions(t.Context(), table, key, keys, nil)
	require.NoError(t, err)
	list := make([]string, len(rows))
	for i, r := range rows {
		list[i] = r.Version
	}
	return list
}

func codes(results []connector.Result) map[string]int {
	n := map[string]int{}
	for _, r := range results {
		if r.Err == nil {
			n[""]++
		} else {
			n[fault.Of(r.Err).Code]++
		}
	}
	return n
}

func TestAThousandWritesByVersionAreJudgedOneByOne(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	de := c.regions["de"]
	rows := make([]connector.Row, 1000)
	keys := make([]connector.Row, len(rows))
	for i := range rows {
		keys[i] = connector.Row{"accountnumber": fmt.Sprintf("T-%04d", i)}
		rows[i] = connector.Row{"accountnumber": keys[i]["accountnumber"], "name": fmt.Sprintf("First of %d", i), "telephone1": nil}
	}
	none := make([]string, len(rows))
	results, err := de.UpsertAt(t.Context(), connector.Upsert{Table: "account", Key: byAccount, Rows: rows, Origin: "patchbay:account-sync"}, none)
	require.NoError(t, err)
	require.Equal(t, map[string]int{"": 1000}, codes(results))
	results, err = de.UpsertAt(t.Context(), connector.Upsert{Table: "account", Key: byAccount, Rows: rows[:10]}, none[:10])
	require.NoError(t, err)
	require.Equal(t, map[string]int{"connector.version": 10}, codes(results), "a row that must not be there is")

	seen, err := de.ReadVersions(t.Context(), "account", byAccount, slices.Concat(keys, []connector.Row{{"accountnumber": "nowhere"}}), []string{"name"})
	require.NoError(t, err)
	require.Equal(t, connector.VersionedRow{}, seen[1000])
	tags := make([]string, len(rows))
	for i, r := range seen[:1000] {
		require.Equal(t, connector.Row{"accountnumber": keys[i]["accountnumber"], "name": rows[i]["name"]}, r.Row)
		require.WithinDuration(t, time.Now(), r.At, time.Minute)
		tags[i] = r.Version
	}
	// Every twentieth is changed by somebody else, every hundredth has a value that no account may have.
	var others []connector.Row
	for i := range rows {
		rows[i]["name"] = fmt.Sprintf("Second of %d", i)
		if i%20 == 3 {
			others = append(others, connector.Row{"accountnumber": keys[i]["accountnumber"], "name": "Somebody else's"})
		}
		if i%100 == 7 {
			rows[i]["name"] = json.Number("7")
		}
	}
	results, err = de.Upsert(t.Context(), connector.Upsert{Table: "account", Key: byAccount, Rows: others})
	require.NoError(t, err)
	require.Equal(t, map[string]int{"": 50}, codes(results))
	results, err = de.UpsertAt(t.Context(), connector.Upsert{Table: "account", Key: byAccount, Rows: rows}, tags)
	require.NoError(t, err)
	require.Equal(t, map[string]int{"": 940, "connector.version": 50, "dataverse.bad_payload": 10}, codes(results))
	for i, r := range results {
		require.Equal(t, i%20 == 3, r.Err != nil && fault.Of(r.Err).Code == "connector.version")
		require.Equal(t, i%20 == 3, r.Err != nil && fault.Of(r.Err).Class == fault.Conflict)
	}
	require.Equal(t, 940, c.number(`SELECT count(*) FROM dataverse_de.account WHERE name LIKE 'Second of %'`))
	require.Equal(t, 50, c.number(`SELECT count(*) FROM dataverse_de.account WHERE name = 'Somebody else''s'`))
	require.Equal(t, 10, c.number(`SELECT count(*) FROM dataverse_de.account WHERE name LIKE 'First of %'`))
	require.Zero(t, c.number(`SELECT count(*) FROM dataverse_fr.account WHERE accountnumber LIKE 'T-%'`), "nothing is written anywhere else")

	gone := append(slices.Clone(keys[:400]), connector.Row{"accountnumber": "nowhere"})
	results, err = de.DeleteAt(t.Context(), connector.Delete{Table: "account", Key: byAccount, Keys: gone}, append(slices.Clone(tags[:400]), `W/"1"`))
	require.NoError(t, err)
	require.Equal(t, map[string]int{"": 5, "connector.version": 396}, codes(results), "only those that nobody has written since, and what is gone already")
	require.Equal(t, 996, c.number(`SELECT count(*) FROM dataverse_de.account WHERE accountnumber LIKE 'T-%'`))
	results, err = de.DeleteAt(t.Context(), connector.Delete{Table: "account", Key: byAccount, Keys: keys[500:501]}, []string{""})
	require.NoError(t, err)
	require.Equal(t, map[string]int{"connector.version": 1}, codes(results), "what must not be there is not removed")
}

func TestLookupsAreReadAndWrittenByTheIDsOfTheRegion(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	ch := c.regions["ch"]
	read := func(number string) connector.Row {
		rows, err := ch.ReadByKey(t.Context(), "contact", byContact, numbers("msx_contactnumber", number), []string{"parentcustomerid"})
		require.NoError(t, err)
		return rows[0]
	}
	accounts, err := ch.ReadByKey(t.Context(), "account", byAccount, numbers("accountnumber", "CH-1001", "CH-1002"), []string{"accountid"})
	require.NoError(t, err)
	first, second := accounts[0]["accountid"].(string), accounts[1]["accountid"].(string)
	require.Equal(t, first, read("CH-C1001")["parentcustomerid"])

	keys := numbers("msx_contactnumber", "CH-C1001", "CH-C1002", "CH-C1003", "CH-C1004")
	write := func(row connector.Row) error {
		row["msx_contactnumber"] = "CH-C1001"
		results, err := ch.UpsertAt(t.Context(), connector.Upsert{Table: "contact", Key: byContact, Rows: []connector.Row{row}}, versions(t, ch, "contact", byContact, keys[:1]))
		require.NoError(t, err)
		return results[0].Err
	}
	require.NoError(t, write(connector.Row{"fullname": "Moved", "parentcustomerid": strings.ToUpper(second)}))
	require.Equal(t, connector.Row{"msx_contactnumber": "CH-C1001", "parentcustomerid": second}, read("CH-C1001"))
	require.NoError(t, write(connector.Row{"parentcustomerid": nil}))
	require.Equal(t, connector.Row{"msx_contactnumber": "CH-C1001", "parentcustomerid": nil}, read("CH-C1001"))
	f := fault.Of(write(connector.Row{"parentcustomerid": "00000000-0000-4000-8000-000000000000", "fullname": "Not written"}))
	require.Equal(t, "connector.reference", f.Code)
	require.NotContains(t, f.Error(), "00000000")
	require.Equal(t, "dataverse.value", fault.Of(write(connector.Row{"parentcustomerid": "CH-1001"})).Code)
	require.Equal(t, 1, c.number(`SELECT count(*) FROM dataverse_ch.contact WHERE msx_contactnumber = 'CH-C1001' AND fullname = 'Moved'`))
	results, err := ch.Upsert(t.Context(), connector.Upsert{Table: "contact", Key: byContact, Rows: []connector.Row{{"msx_contactnumber": "CH-C1001", "parentcustomerid": first}}})
	require.NoError(t, err)
	require.NoError(t, errors.Join(results[0].Err))
	require.Equal(t, first, read("CH-C1001")["parentcustomerid"])

	// A contact below a contact says nothing of an account, and not that there is none.
	c.exec(`UPDATE dataverse_ch.contact SET "_parentcustomerid_type" = 'contact', "_parentcustomerid_value" = (SELECT contactid FROM dataverse_ch.contact WHERE msx_contactnumber = 'CH-C1005') WHERE msx_contactnumber = 'CH-C1004'`)
	require.Equal(t, connector.Row{"msx_contactnumber": "CH-C1004"}, read("CH-C1004"))
	page, err := ch.ReadPage(t.Context(), connector.Query{Table: "contact", Select: []string{"msx_contactnumber", "parentcustomerid"}, Where: []connector.Match{{Column: "parentcustomerid", Value: second}}}, "")
	require.NoError(t, err)
	require.Len(t, page.Rows, 3, "CH-C1002, CH-C1026 and CH-C1050, whose parent is the second account")
	sheet, err := ch.ExtractPage(t.Context(), connector.Query{Table: "contact", Select: []string{"msx_contactnumber", "parentcustomerid", "fullname"}}, "")
	require.NoError(t, err)
	rows, err := connector.RowsOf(sheet)
	require.NoError(t, err)
	require.Len(t, rows, 60)
	for _, row := range rows {
		require.Equal(t, row["msx_contactnumber"] == "CH-C1004", row["parentcustomerid"] == nil)
		require.NotEmpty(t, row["fullname"])
	}

	// A parent that has children which must stay does not go.
	orders := numbers("accountnumber", "CH-1001")
	results, err = ch.DeleteAt(t.Context(), connector.Delete{Table: "account", Key: byAccount, Keys: orders}, versions(t, ch, "account", byAccount, orders))
	require.NoError(t, err)
	require.Equal(t, map[string]int{"connector.reference": 1}, codes(results))
	// One whose key changes is found by its ID.
	results, err = ch.UpsertAt(t.Context(), connector.Upsert{Table: "account", Key: []string{"accountid"}, Rows: []connector.Row{{"accountid": second, "accountnumber": "CH-9002", "name": "Renumbered"}}},
		versions(t, ch, "account", []string{"accountid"}, numbers("accountid", second)))
	require.NoError(t, err)
	require.Equal(t, map[string]int{"": 1}, codes(results))
	require.Equal(t, 1, c.number(`SELECT count(*) FROM dataverse_ch.account WHERE accountid = $1 AND accountnumber = 'CH-9002'`, second))
}

func TestWhatAnOrganisationCutsIsSaidAndTheOthersGoOn(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	de := c.regions["de"]
	keys := numbers("accountnumber", "DE-1001", "DE-1002", "DE-1003")
	write := func() map[string]int {
		rows := []connector.Row{{"accountnumber": "DE-1001", "name": "Short"}, {"accountnumber": "DE-1002", "name": strings.Repeat("é", 40)}, {"accountnumber": "DE-1003", "name": strings.Repeat("x", 161)}}
		results, err := de.UpsertAt(t.Context(), connector.Upsert{Table: "account", Key: byAccount, Rows: rows}, versions(t, de, "account", byAccount, keys))
		require.NoError(t, err)
		for _, r := range results {
			if r.Err != nil {
				require.Equal(t, fault.Rejected, fault.Of(r.Err).Class)
				require.NotContains(t, r.Err.Error(), "é")
			}
		}
		return codes(results)
	}
	require.Equal(t, map[string]int{"": 2, "dataverse.too_long": 1}, write())
	c.faults("de", `{"truncate":"account/20"}`)
	require.Equal(t, map[string]int{"": 1, "connector.truncated": 1, "dataverse.too_long": 1}, write(), "what is longer than its column is not sent to where it might be cut")
	require.Equal(t, 1, c.number(`SELECT count(*) FROM dataverse_de.account WHERE accountnumber = 'DE-1001' AND name = 'Short'`))
	require.Equal(t, 1, c.number(`SELECT count(*) FROM dataverse_de.account WHERE accountnumber = 'DE-1002' AND length(name) = 20`))
	// Numbers and times that are written another way are no others.
	c.faults("de", "")
	orders := numbers("ordernumber", "DE-ORD-01001")
	results, err := de.UpsertAt(t.Context(), connector.Upsert{Table: "salesorder", Key: []string{"ordernumber"},
		Rows: []connector.Row{{"ordernumber": "DE-ORD-01001", "totalamount": json.Number("12.50"), "statuscode": json.Number("2")}}}, versions(t, de, "salesorder", []string{"ordernumber"}, orders))
	require.NoError(t, err)
	require.Equal(t, map[string]int{"": 1}, codes(results))
	shipments := numbers("msx_shipmentnumber", "DE-SHP-01001")
	results, err = de.UpsertAt(t.Context(), connector.Upsert{Table: "msx_shipment", Key: []string{"msx_shipmentnumber"},
		Rows: []connector.Row{{"msx_shipmentnumber": "DE-SHP-01001", "msx_eta": "2026-12-24T18:00:00+01:00"}}}, versions(t, de, "msx_shipment", []string{"msx_shipmentnumber"}, shipments))
	require.NoError(t, err)
	require.Equal(t, map[string]int{"": 1}, codes(results))
	results, err = de.UpsertAt(t.Context(), connector.Upsert{Table: "salesorder", Key: []string{"ordernumber"},
		Rows: []connector.Row{{"ordernumber": "DE-ORD-01001", "totalamount": json.Number("0.000049")}}}, versions(t, de, "salesorder", []string{"ordernumber"}, orders))
	require.NoError(t, err)
	require.Equal(t, map[string]int{"connector.truncated": 1}, codes(results), "an amount has four places")
}

func TestChangesServeASynchronizationAndATokenMayExpireInTheMiddle(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	fr := c.regions["fr"]
	asked := []string{"msx_contactnumber", "fullname", "parentcustomerid"}
	first, err := fr.ReadChanges(t.Context(), "contact", asked, "")
	require.NoError(t, err)
	require.Len(t, first.Rows, 60)
	require.False(t, first.More)
	for i, row := range first.Rows {
		require.ElementsMatch(t, append(slices.Clone(asked), "contactid"), keysOf(row))
		require.False(t, first.At[i].IsZero())
		require.Positive(t, first.Versions[i])
	}
	c.exec(`INSERT INTO dataverse_fr.contact (contactid, msx_contactnumber, fullname, createdon, modifiedon, versionnumber, statecode, statuscode)
		SELECT gen_random_uuid(), 'N-' || n, 'New ' || n, now(), now(), nextval('dataverse_fr.row_version'), 0, 1 FROM generate_series(1, 1500) n`)
	results, err := fr.DeleteAt(t.Context(), connector.Delete{Table: "contact", Key: byContact, Keys: numbers("msx_contactnumber", "FR-C1001")},
		versions(t, fr, "contact", byContact, numbers("msx_contactnumber", "FR-C1001")))
	require.NoError(t, err)
	require.Equal(t, map[string]int{"": 1}, codes(results))
	page, err := fr.ReadChanges(t.Context(), "contact", asked, first.Cursor)
	require.NoError(t, err)
	require.True(t, page.More)
	require.Len(t, page.Rows, 1000)
	c.faults("fr", `{"expire_tokens":true,"count":1}`)
	_, err = fr.ReadChanges(t.Context(), "contact", asked, page.Cursor)
	require.Equal(t, "connector.cursor_expired", fault.Of(err).Code)
	require.Equal(t, fault.Conflict, fault.Of(err).Class)
	page, err = fr.ReadChanges(t.Context(), "contact", asked, page.Cursor)
	require.NoError(t, err)
	require.Len(t, page.Rows, 500)
	require.Len(t, page.Deleted, 1)
	var now time.Time
	require.NoError(t, c.db.QueryRow(t.Context(), `SELECT modifiedon FROM dataverse_fr.contact WHERE msx_contactnumber = 'N-1500'`).Scan(&now))
	require.True(t, page.At[499].Equal(now.Truncate(time.Microsecond)) || page.At[499].Equal(now.Truncate(time.Second)), "%s %s", page.At[499], now)
}

func keysOf(row connector.Row) []string {
	var list []string
	for name := range row {
		list = append(list, name)
	}
	return list
}

func TestIdentitiesTellAColumnThatWasMadeAgain(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	look := func(v *dataverse.Dataverse) map[string]connector.Identity {
		list, err := v.Identities(t.Context(), "contact")
		require.NoError(t, err)
		all := map[string]connector.Identity{}
		for _, x := range list {
			all[x.Column] = x
		}
		return all
	}
	before := look(c.regions["de"])
	require.Equal(t, "string", before["parentcustomerid"].Type)
	require.Equal(t, "timestamp", before["modifiedon"].Type)
	require.NotEmpty(t, before["msx_patientid"].ID, "it is there, and restricted")
	require.NotContains(t, before, "_parentcustomerid_value")
	require.NotEqual(t, before["fullname"].ID, look(c.regions["fr"])["fullname"].ID, "each organisation has its own")
	c.exec(`INSERT INTO dataverse_de.attribute (logical, name, metadataid) VALUES ('contact', 'fullname', gen_random_uuid())`)
	require.Equal(t, before, look(c.regions["de"]), "they are kept for some seconds")
	after := look(c.dial("dataverse-de", nil))
	require.NotEqual(t, before["fullname"].ID, after["fullname"].ID)
	delete(before, "fullname")
	delete(after, "fullname")
	require.Equal(t, before, after)
}

func TestATokenOfOneRegionIsRefusedByAnother(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	stray := c.dial("dataverse-de", func(x *connector.Config) { x.URL = strings.ReplaceAll(x.URL, "dataverse-de", "dataverse-fr") })
	require.Equal(t, fault.Unauthorized, fault.Of(stray.Probe(t.Context())).Class)
	_, err := stray.ReadChanges(t.Context(), "account", byAccount, "")
	require.Equal(t, fault.Unauthorized, fault.Of(err).Class)
	borrowed := c.dial("dataverse-fr", func(x *connector.Config) { x.Auth.ClientSecret = "${env:PATCHBAY_SANDBOX_SECRET_DE}" })
	require.Error(t, borrowed.Probe(t.Context()), "nor does the secret of one open another")
}

// What wakes an export is told by the region's own organisation, with the origin that its
// writer gave and the names that change tracking uses.
func TestAWebhookOfARegionTellsOfThatRegionAlone(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	de, fr := c.regions["de"], c.regions["fr"]
	came := make(chan connector.Delivery, 10)
	listener := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if body, err := io.ReadAll(r.Body); err == nil {
			came <- connector.Delivery{Header: r.Header, Query: r.URL.Query(), Body: body, At: time.Now()}
		}
	}))
	t.Cleanup(listener.Close)
	asked := []string{"msx_contactnumber", "fullname", "parentcustomerid"}
	require.NoError(t, de.Subscribe(t.Context(), listener.URL, []connector.Subscription{{Table: "contact", Changes: []string{"update"}, Columns: asked}}))
	all, err := de.ReadChanges(t.Context(), "contact", asked, "")
	require.NoError(t, err)
	accounts, err := de.ReadByKey(t.Context(), "account", byAccount, numbers("accountnumber", "DE-1010"), []string{"accountid"})
	require.NoError(t, err)
	for _, write := range []struct {
		to     *dataverse.Dataverse
		number string
		parent any
	}{{fr, "FR-C1001", nil}, {de, "DE-C1001", accounts[0]["accountid"]}} {
		results, err := write.to.UpsertAt(t.Context(), connector.Upsert{Table: "contact", Key: byContact, Origin: "patchbay:account-sync",
			Rows: []connector.Row{{"msx_contactnumber": write.number, "fullname": "Told of", "parentcustomerid": write.parent}}},
			versions(t, write.to, "contact", byContact, numbers("msx_contactnumber", write.number)))
		require.NoError(t, err)
		require.NoError(t, results[0].Err)
	}
	events, err := de.Receive(t.Context(), <-came)
	require.NoError(t, err)
	require.Len(t, events, 1)
	require.Equal(t, "patchbay:account-sync", events[0].Origin)
	page, err := de.ReadChanges(t.Context(), "contact", asked, all.Cursor)
	require.NoError(t, err)
	require.Len(t, page.Rows, 1)
	require.Equal(t, "DE-C1001", page.Rows[0]["msx_contactnumber"])
	require.Equal(t, accounts[0]["accountid"], page.Rows[0]["parentcustomerid"])
	require.Equal(t, page.Rows[0]["parentcustomerid"], events[0].After["parentcustomerid"])
	require.Equal(t, page.Versions[0], events[0].Version)
	require.Empty(t, came, "what is written elsewhere is not told here")
}
