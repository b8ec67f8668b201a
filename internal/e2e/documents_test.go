package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
)

// agency is a Patchbay with the example flows about contracts, of a directory of its own.
type agency struct {
	*patchbay

	flows string
}

// filed is a document as a stand-in says that it has it.
type filed struct{ Object, Name, SHA256 string }

func agencyOf(t *testing.T, files ...string) *agency {
	t.Helper()
	a := &agency{flows: filepath.Join(dataDir(t), "flows")}
	require.NoError(t, os.Mkdir(a.flows, 0o755))
	a.patchbay = &patchbay{t: t, dir: filepath.Dir(a.flows)}
	a.add("connections.yaml")
	for _, name := range files {
		a.add(name)
	}
	a.begin()
	return a
}

// add puts an example file among the flows.
func (a *agency) add(name string) {
	a.t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "flows", name))
	require.NoError(a.t, err)
	require.NoError(a.t, os.WriteFile(filepath.Join(a.flows, name), text, 0o600))
}

func (a *agency) begin() { a.patchbay = start(a.t, a.dir, "--flows", a.flows) }

// third adds the file of the third target, and nothing else; dev applies files when it starts.
func (a *agency) third() {
	a.t.Helper()
	a.add("contract-distribution-ibm.yaml")
	a.kill()
	a.begin()
	require.Equal(a.t, http.StatusOK, a.do(http.MethodGet, a.HTTP+"/v1/flows/contract-distribution-ibm", nil, "", nil).StatusCode)
}

// put makes a document in SharePoint, or changes it, and gives its ID and checksum.
func (a *agency) put(path string, size int) (id, sum string) {
	a.t.Helper()
	a.do(http.MethodPut, a.Sandbox+"/_sandbox/documents", nil, fmt.Sprintf(`{"path":%q,"size":%d}`, path, size), nil)
	var d struct{ ID, SHA256 string }
	a.do(http.MethodGet, a.Sandbox+"/_sandbox/documents?path="+url.QueryEscape(path), nil, "", &d)
	return d.ID, d.SHA256
}

// changed tells that a contract changed, and gives the run that this starts.
func (a *agency) changed(event, id string) (run string) {
	a.t.Helper()
	resp := a.do(http.MethodPost, a.HTTP+"/v1/events/contract-changed.v1", nil,
		fmt.Sprintf(`{"id":%q,"data":{"id":%q,"order":"11","item":"AS54888"}}`, event, id), nil)
	require.Equal(a.t, http.StatusAccepted, resp.StatusCode)
	a.await("the run", time.Minute, func() bool {
		var told struct{ Events []flow.TopicEvent }
		a.do(http.MethodGet, a.HTTP+"/v1/events?key="+url.QueryEscape(id), nil, "", &told)
		for _, e := range told.Events {
			if e.ID == event && len(e.Started) == 1 {
				run = e.Started[0].Run
			}
		}
		return run != ""
	})
	return run
}

// has are the documents of a name that a system says it has.
func (a *agency) has(system, name string) (sums []string) {
	a.t.Helper()
	var all []filed
	a.do(http.MethodGet, a.Sandbox+"/_sandbox/"+system+"/documents", nil, "", &all)
	for _, d := range all {
		if d.Name == name {
			sums = append(sums, d.SHA256)
		}
	}
	return sums
}

func (a *agency) arrives(name, sum string, systems ...string) {
	a.t.Helper()
	for _, system := range systems {
		a.await(name+" in "+system, 2*time.Minute, func() bool {
			sums := a.has(system, name)
			return len(sums) > 0 && sums[len(sums)-1] == sum
		})
	}
}

func TestAContractArrivesOnceAtEachTargetWhateverDies(t *testing.T) {
	t.Parallel()
	a := agencyOf(t, "contract-distribution.yaml")
	const name = "Lease 4711.pdf"

	// SAP is away: Oracle has the contract nevertheless, and a kill loses none of it.
	a.fault("sap", `{"status":503}`)
	id, sum := a.put("/Contracts/"+name, 5_000_000)
	run := a.changed("first", id)
	a.arrives(name, sum, "oracle")
	require.Empty(t, a.has("sap", name))
	a.kill()
	a.begin()
	a.heal("sap")
	a.arrives(name, sum, "sap")
	got := a.final(run, time.Minute)
	require.Equal(t, flow.Completed, got.Status, "%+v", got.Problem)
	require.Equal(t, sum, got.Result.Rows[0]["sha256"])

	// The third target is a file.
	require.Empty(t, a.has("ibm", name))
	a.third()

	// The contract changes, and Patchbay dies while it is under way.
	_, sum = a.put("/Contracts/"+name, 40_000_000)
	run = a.changed("second", id)
	for range 2 {
		a.kill()
		a.begin()
	}
	a.arrives(name, sum, "sap", "oracle", "ibm")
	got = a.final(run, 2*time.Minute)
	require.Equal(t, flow.Completed, got.Status, "%+v", got.Problem)
	for _, system := range []string{"sap", "oracle", "ibm"} {
		require.Equal(t, []string{sum}, a.has(system, name), "%s has it once, and no other of its name", system)
	}

	// What is there is not sent again.
	before := len(a.calls("sap", http.MethodPost, "AttachmentContentSet"))
	got = a.final(a.changed("third", id), 2*time.Minute)
	require.Equal(t, flow.Completed, got.Status, "%+v", got.Problem)
	require.Len(t, a.calls("sap", http.MethodPost, "AttachmentContentSet"), before)
	require.Equal(t, []string{sum}, a.has("sap", name))
	require.Contains(t, got.Tasks[len(got.Tasks)-1].Note, "already")
}

func TestWhatIsWrongWithADocumentIsSaidOnThePageOfItsRun(t *testing.T) {
	t.Parallel()
	a := agencyOf(t, "contract-distribution.yaml")
	const name = "Annex.pdf"

	// It changes while it is read: it is read anew, and no mixture is ever stored.
	a.fault("graph", `{"document":"changes","count":2}`)
	id, _ := a.put("/Contracts/"+name, 3_000_000)
	got := a.final(a.changed("changes", id), 2*time.Minute)
	require.Equal(t, flow.Completed, got.Status, "%+v", got.Problem)
	var now struct{ SHA256 string }
	a.do(http.MethodGet, a.Sandbox+"/_sandbox/documents?path="+url.QueryEscape("/Contracts/"+name), nil, "", &now)
	require.Equal(t, []string{now.SHA256}, a.has("sap", name))
	require.Equal(t, []string{now.SHA256}, a.has("oracle", name))
	a.heal("graph")

	// It goes on changing: the run waits and says for what, until it stops.
	a.fault("graph", `{"document":"changes"}`)
	run := a.changed("goes on", id)
	a.await("a task that waits", time.Minute, func() bool {
		var r flow.Run
		a.do(http.MethodGet, a.HTTP+"/v1/runs/"+run, nil, "", &r)
		return len(r.Tasks) > 0 && r.Tasks[0].Waiting != ""
	})
	a.heal("graph")
	got = a.final(run, 3*time.Minute)
	require.Equal(t, flow.Completed, got.Status, "%+v", got.Problem)

	// It is not there.
	got = a.final(a.changed("gone", "01NOBODYKNOWSTHISONE"), time.Minute)
	require.Equal(t, flow.Failed, got.Status)
	require.NotEmpty(t, got.Tasks[0].Problem.Code)

	// It is larger than a flow carries.
	id, _ = a.put("/Contracts/Huge.bin", flow.MostDocument+1)
	got = a.final(a.changed("large", id), time.Minute)
	require.Equal(t, flow.DocumentLargeCode, got.Problem.Code)
	require.Empty(t, a.has("sap", "Huge.bin"))

	// Somebody tells of a document that was never read.
	a.third()
	said := func(name string) string {
		var problem struct{ Code, Detail string }
		quoted, err := json.Marshal(name)
		require.NoError(t, err)
		resp := a.do(http.MethodPost, a.HTTP+"/v1/events/contract-stored.v1", nil, fmt.Sprintf(
			`{"id":"made up","data":{"document_id":"x","order":"11","document":{"name":%s,"type":"","size":4,"sha256":"%064d"}}}`, quoted, 7), &problem)
		require.Equal(t, http.StatusUnprocessableEntity, resp.StatusCode)
		return problem.Code + " " + problem.Detail
	}
	require.Contains(t, said("a.pdf"), "not kept")
	for _, hostile := range []string{"../../etc/passwd", `..\..\boot.ini`, "invoice\u202efdp.exe", "a\u0000b.pdf", "a\nb.pdf", ".."} {
		require.Contains(t, said(hostile), "event.invalid", hostile)
	}
}
