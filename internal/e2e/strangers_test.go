package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
	"patchbay/internal/wiretest/dovecot"
)

// A flow that files a copy of a document, and two by which an attachment of a mail goes to SAP.
const (
	copyFlow = `
flow: copy
pattern: service
summary: A document is filed once more
params: { id: { type: string } }
steps:
  - step: file
    call: sharepoint.documents
    where: { id: params.id }
    select: [id, document]
  - step: filed
    call: sharepoint.documents
    key: [path, name]
    with: { path: '"/Contracts"', name: steps.file.row.document.name, document: steps.file.row.document }
answer: { sha256: steps.file.row.document.sha256 }
`
	mailFlow = `
flow: mail-came
pattern: event
summary: A mail with an attachment becomes a business event
on: [{ source: mailbox.inbox, change: [create], where: row.attachment_count > 0, key: row.message_id }]
emits:
  mail-came.v1:
    key: [mail]
    schema: { type: object, required: [mail, attachment], properties: { mail: { type: string }, attachment: { type: string } } }
emit: mail-came.v1
map: { mail: row.message_id, attachment: "string(row.attachments[0].id)" }
`
	filingFlow = `
flow: mail-filing
pattern: service
summary: What came by mail is filed at its order
on: [{ event: mail-came.v1 }]
accepts:
  mail-came.v1: { key: [mail], schema: { type: object, required: [mail, attachment], properties: { mail: { type: string }, attachment: { type: string } } } }
steps:
  - step: file
    call: mailbox.inbox
    where: { id: params.attachment }
    select: [id, document]
  - step: order
    call: sap.attachments
    key: [SalesOrder, name]
    with: { SalesOrder: '"11"', name: steps.file.row.document.name, document: steps.file.row.document }
`
	mailboxConnection = `
  mailbox:
    system: imap
    url: imap://127.0.0.1:%d
    auth: { kind: basic, username: %s, password: "${file:%s}" }
    options: { tls: none }
    tables:
      inbox: { path: INBOX, keys: [[id]], columns: { id: string, message_id: string, subject: string, attachments: any, attachment_count: int, document: document } }
`
)

// write puts a file among the flows.
func (a *agency) write(name, text string) {
	a.t.Helper()
	require.NoError(a.t, os.WriteFile(filepath.Join(a.flows, name), []byte(text), 0o600))
}

func bareAgency(t *testing.T) *agency {
	t.Helper()
	a := &agency{flows: filepath.Join(dataDir(t), "flows")}
	require.NoError(t, os.Mkdir(a.flows, 0o755))
	a.patchbay = &patchbay{t: t, dir: filepath.Dir(a.flows)}
	a.add("connections.yaml")
	return a
}

// An upload dies when nine tenths are there: it is begun again and the file is there once. One
// that dies again and again has its step wait, which the page of the run says, until it does not.
func TestAnUploadThatDiesNearItsEndIsBegunAgainOrWaitedFor(t *testing.T) {
	t.Parallel()
	a := bareAgency(t)
	a.write("copy.yaml", copyFlow)
	a.begin()
	id, sum := a.put("/Inbox/Plans.bin", 32_768_000) // ten parts
	start := func() string {
		var run flow.Run
		resp := a.do(http.MethodPost, a.HTTP+"/v1/flows/copy/runs", http.Header{"Prefer": {"wait=0"}}, fmt.Sprintf(`{"id":%q}`, id), &run)
		require.Less(t, resp.StatusCode, 300)
		return run.RunID
	}
	parts := func() int { return len(a.calls("graph", http.MethodPut, "uploadSessions")) }
	filed := func() (got struct {
		SHA256   string
		Versions int
	}) {
		a.do(http.MethodGet, a.Sandbox+"/_sandbox/documents?path="+url.QueryEscape("/Contracts/Plans.bin"), nil, "", &got)
		return got
	}

	a.fault("graph", `{"latency_ms":400,"path":"uploadSessions","method":"PUT"}`)
	run := start()
	a.await("nine of ten parts", time.Minute, func() bool {
		if r := a.run(run); r.Status.Final() {
			t.Fatalf("%+v %+v", r.Problem, r.Tasks)
		}
		return parts() >= 9
	})
	a.fault("graph", `{"document":"forgets","path":"uploadSessions","method":"PUT","count":1}`)
	got := a.final(run, 2*time.Minute)
	require.Equal(t, flow.Completed, got.Status, "%+v", got.Problem)
	require.Greater(t, parts(), 11, "it was begun again")
	require.Equal(t, sum, filed().SHA256)
	require.Equal(t, 1, filed().Versions)

	id, sum = a.put("/Inbox/Plans.bin", 32_768_001)
	a.fault("graph", `{"document":"forgets","path":"uploadSessions","method":"PUT"}`)
	run = start()
	a.await("a step that waits", 2*time.Minute, func() bool {
		tasks := a.run(run).Tasks
		return len(tasks) == 2 && strings.Contains(tasks[1].Waiting, "forgot the upload")
	})
	a.heal("graph")
	got = a.final(run, 2*time.Minute)
	require.Equal(t, flow.Completed, got.Status, "%+v", got.Problem)
	require.Equal(t, sum, filed().SHA256)
	require.Equal(t, 2, filed().Versions)
}

// A subscription that is silent costs time and no event, and who sends a word that is not ours
// starts nothing.
func TestAContractIsFoundThoughNobodyTellsOfIt(t *testing.T) {
	t.Parallel()
	a := bareAgency(t)
	a.add("contract-distribution.yaml")
	text, err := os.ReadFile(filepath.Join("..", "..", "flows", "contract-changes.yaml"))
	require.NoError(t, err)
	a.write("contract-changes.yaml", strings.Replace(string(text), "sweep: 5m ", "sweep: 20s ", 1))
	a.begin()
	const told, silent = "11_AS54888_Told.pdf", "11_AS54888_Silent.pdf"
	swept := func() int { return len(a.calls("graph", http.MethodGet, "delta")) }
	a.await("swept once", time.Minute, func() bool { return swept() > 0 })

	a.fault("graph", `{"webhook":{"drop":1}}`)
	id, sum := a.put("/Contracts/"+silent, 100_000)
	for _, state := range []string{"", "another"} {
		var problem struct{ Code string }
		resp := a.do(http.MethodPost, a.HTTP+"/v1/hooks/contract-changes", nil,
			fmt.Sprintf(`{"value":[{"subscriptionId":"1","clientState":%q,"changeType":"updated","resource":"drives/b!1/root"}]}`, state), &problem)
		require.Equal(t, http.StatusUnauthorized, resp.StatusCode)
		require.Equal(t, "hook.client_state", problem.Code)
	}
	a.arrives(silent, sum, "sap", "oracle")
	var said struct {
		Entries []struct{ What, Reason, Run string }
	}
	a.do(http.MethodGet, a.HTTP+"/v1/explain/"+url.PathEscape(id), nil, "", &said)
	require.NotEmpty(t, said.Entries)

	a.heal("graph")
	_, sum = a.put("/Contracts/"+told, 100_000)
	a.arrives(told, sum, "sap", "oracle")
	require.Len(t, a.has("sap", silent), 1)
}

// What comes by mail comes from strangers. A name that points elsewhere is made a name, which the
// page says; a mail that nobody can understand is a dead letter with a name, and stalls none.
func TestAHostileMailIsNamedAndStallsNoOther(t *testing.T) {
	t.Parallel()
	d := dovecot.New(t)
	a := bareAgency(t)
	text, err := os.ReadFile(filepath.Join(a.flows, "connections.yaml"))
	require.NoError(t, err)
	a.write("password", dovecot.Password)
	a.write("connections.yaml", strings.TrimRight(string(text), "\n")+"\n"+fmt.Sprintf(mailboxConnection, d.Port, dovecot.User, filepath.Join(a.flows, "password")))
	a.write("mail-came.yaml", mailFlow)
	a.write("mail-filing.yaml", filingFlow)
	mail := func(id, name string) string {
		return "From: a@b.example\nMessage-ID: <" + id + "@b>\nSubject: " + id + "\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nsee below\n" +
			"--b\nContent-Type: application/pdf\nContent-Disposition: attachment; filename=\"" + name + "\"\n\nbytes of " + id + "\n--b--\n"
	}
	d.Arrives(mail("old", "old.pdf")) // what is there is no event
	d.Arrives("From: x@y.example\nMessage-ID: <oldbad@y>\nMIME-Version: 1.0\nContent-Type: message/global\n\nx\n")
	a.begin()
	a.await("the mailbox is followed", time.Minute, func() bool {
		return a.count(`select count(*) from cursor where flow = 'mail-came' and position <> ''`) == 1
	})

	d.Arrives(mail("hostile", `../../etc/invoice.pdf`))
	d.Arrives("From: x@y.example\nMessage-ID: <bad@y>\nSubject: bad\nMIME-Version: 1.0\nContent-Type: text/plain; =x; name=y\n\nx\n")
	d.Arrives(mail("good", "good.pdf"))
	a.await("both are filed", 2*time.Minute, func() bool { return len(a.has("sap", "invoice.pdf")) == 1 && len(a.has("sap", "good.pdf")) == 1 })
	require.Empty(t, a.has("sap", "old.pdf"))

	var told struct{ Events []flow.TopicEvent }
	a.do(http.MethodGet, a.HTTP+"/v1/events?key="+url.QueryEscape("hostile@b"), nil, "", &told)
	require.Len(t, told.Events, 1)
	run := a.final(told.Events[0].Started[0].Run, time.Minute)
	require.Equal(t, flow.Completed, run.Status, "%+v", run.Problem)
	require.Contains(t, run.Tasks[0].Note, "its name there was none of a file: path")

	out, note, code := a.cli("dead", "--events")
	require.Zero(t, code, note)
	require.Contains(t, out, "message 4 of INBOX cannot be understood")
	require.Equal(t, 1, a.count(`select count(*) from event where reason = 'dead' and clause = 'imap.unreadable_message'`), "of the one that was there before nobody is told")
	require.Equal(t, 1, a.count(`select count(*) from event where reason = 'dead'`))
}
