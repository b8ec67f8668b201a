package sandbox_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/wiretest"
)

// posted is one webhook as it came.
type posted struct {
	header http.Header
	query  url.Values
	body   map[string]any
	raw    string
}

// listen is somebody who is told; answer says with what status, by the number of the call.
func listen(t *testing.T, answer func(n int) int) (string, <-chan posted) {
	t.Helper()
	came := make(chan posted, 1000)
	n := make(chan int, 1)
	n <- 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		p := posted{header: r.Header, query: r.URL.Query(), raw: string(text)}
		_ = json.Unmarshal(text, &p.body) // what is no JSON fails where it is looked at
		k := <-n
		n <- k + 1
		w.WriteHeader(answer(k))
		came <- p
	}))
	t.Cleanup(server.Close)
	return server.URL + "/hook", came
}

func ok(int) int { return http.StatusOK }

func next(t *testing.T, came <-chan posted) posted {
	t.Helper()
	select {
	case p := <-came:
		return p
	case <-time.After(20 * time.Second):
		require.FailNow(t, "no webhook came")
		return posted{}
	}
}

func (b *bundle) only(t *testing.T, path, column string) string {
	t.Helper()
	list, _ := b.do(http.MethodGet, dataversePath+path, "").json(t)["value"].([]any)
	require.Len(t, list, 1, path)
	id, _ := list[0].(map[string]any)[column].(string)
	return id
}

// register makes a webhook, its step and, where asked, its images; it returns the id of the step.
func (b *bundle) register(t *testing.T, to, auth, message, table, asked, image string) string {
	t.Helper()
	endpoint := made(t, b.do(http.MethodPost, dataversePath+"serviceendpoints", fmt.Sprintf(`{"name":"engine","url":%q,"contract":8,"messageformat":2,%s}`, to, auth)))
	messageID := b.only(t, "sdkmessages?$select=sdkmessageid&$filter=name eq '"+message+"'", "sdkmessageid")
	filter := b.only(t, "sdkmessagefilters?$select=sdkmessagefilterid&$filter=sdkmessageid/name eq '"+message+"' and primaryobjecttypecode eq '"+table+"'", "sdkmessagefilterid")
	step := made(t, b.do(http.MethodPost, dataversePath+"sdkmessageprocessingsteps", fmt.Sprintf(`{"name":"engine: %s of %s","stage":40,"mode":1,"rank":1,"supporteddeployment":0,"asyncautodelete":true,
		"filteringattributes":%q,"eventhandler_serviceendpoint@odata.bind":"/serviceendpoints(%s)","sdkmessageid@odata.bind":"/sdkmessages(%s)","sdkmessagefilterid@odata.bind":"/sdkmessagefilters(%s)"}`,
		message, table, asked, endpoint, messageID, filter)))
	if image != "" {
		made(t, b.do(http.MethodPost, dataversePath+"sdkmessageprocessingstepimages", fmt.Sprintf(`{"name":"img","entityalias":"img","imagetype":2,"messagepropertyname":"Target","attributes":%q,
			"sdkmessageprocessingstepid@odata.bind":"/sdkmessageprocessingsteps(%s)"}`, image, step)))
	}
	return step
}

// made is the id of what a POST made.
func made(t *testing.T, r reply) string {
	t.Helper()
	require.Equal(t, http.StatusNoContent, r.status, string(r.body))
	at := r.header.Get("OData-EntityId")
	return at[strings.LastIndexByte(at, '(')+1 : len(at)-1]
}

const key4 = `"authtype":4,"authvalue":"s3cret"`

func find(list any, key string) any {
	for _, one := range list.([]any) {
		if pair := one.(map[string]any); pair["key"] == key {
			return pair["value"]
		}
	}
	return nil
}

func TestAWebhookTellsOfACommittedChangeWithItsImages(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		to, came := listen(t, ok)
		b.register(t, to, key4, "Update", "incident", "statuscode", "statuscode,title,customerid,followupby")
		id := made(t, b.do(http.MethodPost, dataversePath+"incidents", `{"title":"T","customerid_account@odata.bind":"/accounts(00a00000-5eed-4000-8000-000000000001)"}`))
		require.Equal(t, http.StatusNoContent, b.do(http.MethodPatch, dataversePath+"incidents("+id+")", `{"title":"no listed column"}`).status)
		require.Equal(t, http.StatusBadRequest, b.do(http.MethodPatch, dataversePath+"incidents("+id+")", `{"statuscode":5}`).status, "what is refused was no change")
		require.Equal(t, http.StatusNoContent, b.do(http.MethodPatch, dataversePath+"incidents("+id+")?tag=engine%20one", `{"statuscode":2,"followupby":"2026-01-01T00:00:00Z"}`).status)
		p := next(t, came)
		require.Equal(t, "s3cret", p.query.Get("code"))
		require.Equal(t, "incident", p.header.Get("x-ms-dynamics-entity-name"))
		require.Equal(t, "Update", p.header.Get("x-ms-dynamics-request-name"))
		require.Equal(t, id, p.body["PrimaryEntityId"])
		require.Equal(t, "engine one", find(p.body["SharedVariables"], "tag"))
		require.Contains(t, p.raw, `\/Date(1767225600000)\/`)
		target := find(p.body["InputParameters"], "Target").(map[string]any)
		require.Equal(t, "Entity:http://schemas.microsoft.com/xrm/2011/Contracts", target["__type"])
		require.InDelta(t, 2, find(target["Attributes"], "statuscode").(map[string]any)["Value"], 0)
		require.Nil(t, find(target["Attributes"], "customerid"), "the target holds what the request named")
		before := find(p.body["PreEntityImages"], "img").(map[string]any)["Attributes"]
		after := find(p.body["PostEntityImages"], "img").(map[string]any)["Attributes"]
		require.InDelta(t, 1, find(before, "statuscode").(map[string]any)["Value"], 0)
		require.Equal(t, "account", find(after, "customerid").(map[string]any)["LogicalName"])
		for _, one := range before.([]any) {
			require.NotEqual(t, "followupby", one.(map[string]any)["key"], "an image leaves out what is null")
		}
		require.Empty(t, came, "one change, one webhook")
	})
}

func TestWebhooksProveThemselvesInEachWay(t *testing.T) {
	t.Parallel()
	b := newLean(t)
	to, came := listen(t, ok)
	settings := `"authvalue":"<settings><setting name=\"x-key\" value=\"a&amp;b\"/></settings>"`
	b.register(t, to, `"authtype":5,`+settings, "Create", "task", "", "")
	made(t, b.do(http.MethodPost, dataversePath+"tasks", `{"subject":"x"}`))
	require.Equal(t, "a&b", next(t, came).header.Get("x-key"))

	other, query := listen(t, ok)
	b.register(t, other, `"authtype":6,`+settings, "Delete", "task", "", "")
	id := made(t, b.do(http.MethodPost, dataversePath+"tasks", `{"subject":"y"}`))
	require.Equal(t, http.StatusNoContent, b.do(http.MethodDelete, dataversePath+"tasks("+id+")", "").status)
	p := next(t, query)
	require.Equal(t, "a&b", p.query.Get("x-key"))
	target := find(p.body["InputParameters"], "Target").(map[string]any)
	require.Equal(t, "EntityReference:http://schemas.microsoft.com/xrm/2011/Contracts", target["__type"])
	require.Equal(t, id, target["Id"])

	shown := b.do(http.MethodGet, dataversePath+"serviceendpoints?$select=authvalue", "")
	require.NotContains(t, string(shown.body), "a&", "authvalue is never shown")
}

func TestAWebhookThatIsNotTakenIsSentExactlyOnceMore(t *testing.T) {
	t.Parallel()
	for status, times := range map[int]int{502: 2, 503: 2, 504: 2, 500: 1, 404: 1, 302: 1, 429: 1} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			b := newBundle(t, lean(200))
			to, came := listen(t, func(int) int { return status })
			step := b.register(t, to, key4, "Create", "task", "", "")
			made(t, b.do(http.MethodPost, dataversePath+"tasks", `{"subject":"refused"}`))
			first := next(t, came)
			for range times - 1 {
				require.Equal(t, first.raw, next(t, came).raw, "the same operation again")
			}
			require.Equal(t, http.StatusNoContent, b.do(http.MethodDelete, dataversePath+"sdkmessageprocessingsteps("+step+")", "").status)
			// What was due before is told before the registration of another step takes effect: this one's comes last.
			good, last := listen(t, ok)
			b.register(t, good, key4, "Create", "task", "", "")
			made(t, b.do(http.MethodPost, dataversePath+"tasks", `{"subject":"last"}`))
			next(t, last)
			require.Empty(t, came)
		})
	}
}

func TestABodyThatIsTooLargeIsTrimmed(t *testing.T) {
	t.Parallel()
	b := newLean(t)
	to, came := listen(t, ok)
	b.register(t, to, key4, "Create", "annotation", "", "notetext")
	made(t, b.do(http.MethodPost, dataversePath+"annotations", `{"subject":"big","documentbody":"`+strings.Repeat("A", 300<<10)+`"}`))
	p := next(t, came)
	require.NotEmpty(t, p.header.Get("x-ms-dynamics-msg-size-exceeded"))
	for _, gone := range []string{"InputParameters", "PreEntityImages", "PostEntityImages", "ParentContext"} {
		require.NotContains(t, p.body, gone)
	}
	require.NotEmpty(t, p.body["PrimaryEntityId"])
}

func TestFaultsDuplicateScatterAndDropWebhooks(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		to, came := listen(t, ok)
		b.register(t, to, key4, "Create", "task", "", "")
		fault := func(text string) {
			require.Equal(t, http.StatusOK, b.do(http.MethodPut, "/_sandbox/faults/dataverse", text).status)
		}
		fault(`{"webhook":{"duplicate":5}}`)
		made(t, b.do(http.MethodPost, dataversePath+"tasks", `{"subject":"five"}`))
		first := next(t, came)
		for range 4 {
			require.Equal(t, first.raw, next(t, came).raw)
		}
		fault(`{"webhook":{"drop":1}}`)
		made(t, b.do(http.MethodPost, dataversePath+"tasks", `{"subject":"dropped"}`))
		require.Eventually(t, func() bool {
			return strings.Contains(string(b.do(http.MethodGet, "/_sandbox/faults/dataverse", "").body), `"struck": 1`)
		}, time.Minute, 10*time.Millisecond)
		fault(`{"webhook":{"reorder":true}}`)
		var order, sorted []string
		for i := range 20 {
			made(t, b.do(http.MethodPost, dataversePath+"tasks", fmt.Sprintf(`{"subject":"%02d"}`, i)))
			sorted = append(sorted, fmt.Sprintf("%02d", i))
		}
		for range 20 {
			order = append(order, fmt.Sprint(find(find(next(t, came).body["InputParameters"], "Target").(map[string]any)["Attributes"], "subject")))
		}
		require.ElementsMatch(t, sorted, order)
		require.NotEqual(t, sorted, order)
		require.Equal(t, http.StatusBadRequest, b.do(http.MethodPut, "/_sandbox/faults/dataverse", `{"webhook":{"dup":5}}`).status)
		require.Equal(t, http.StatusUnprocessableEntity, b.do(http.MethodPut, "/_sandbox/faults/dataverse", `{"webhook":{"drop":2}}`).status)
	})
}

func TestWebhooksStayOnThisMachine(t *testing.T) {
	t.Parallel()
	b := newLean(t)
	for _, to := range []string{"https://example.com/hook", "http://169.254.169.254/", "ftp://127.0.0.1/", "http://u:p@127.0.0.1/", "http://127.0.0.1.example.com/"} {
		r := b.do(http.MethodPost, dataversePath+"serviceendpoints", fmt.Sprintf(`{"name":"e","url":%q,"contract":8,"authtype":4,"authvalue":"x"}`, to))
		require.Equal(t, http.StatusBadRequest, r.status, to)
	}
}

func TestWhatWasDeliveredIsInTheRecord(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		if strings.HasSuffix(t.Name(), "lean") {
			return // it keeps no record
		}
		to, came := listen(t, ok)
		b.register(t, to, key4, "Create", "task", "", "")
		made(t, b.do(http.MethodPost, dataversePath+"tasks", `{"subject":"x"}`))
		next(t, came)
		var entry map[string]any
		require.Eventually(t, func() bool {
			var list []map[string]any
			require.NoError(t, json.Unmarshal(b.do(http.MethodGet, "/_sandbox/calls/dataverse?limit=10000", "").body, &list))
			entry = list[len(list)-1]
			return entry["method"] == "WEBHOOK"
		}, time.Minute, 10*time.Millisecond)
		require.Equal(t, to, entry["path"], "without the code that proves it")
		require.InDelta(t, 200, entry["status"], 0)
	})
}

func TestTheWebhookIsTheOneNoted(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		exchanges, err := wiretest.Load("dataverse-webhook")
		require.NoError(t, err)
		wrong := make(chan []string, 10)
		id := make(chan string, 1)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err == nil {
				vars := wiretest.Vars{"base": "http://" + r.Host, "id": <-id}
				wrong <- exchanges[0].CheckRequest(r, body, vars)
				_ = exchanges[0].Answer(w, vars)
			}
		}))
		t.Cleanup(server.Close)
		b.register(t, server.URL+"/v1/hooks/cases", `"authtype":5,"authvalue":"<settings><setting name=\"x-key\" value=\"wire-secret\"/></settings>"`, "Update", "incident", "statuscode", "")
		step := b.only(t, "sdkmessageprocessingsteps?$select=sdkmessageprocessingstepid", "sdkmessageprocessingstepid")
		made(t, b.do(http.MethodPost, dataversePath+"sdkmessageprocessingstepimages", `{"name":"patchbay","entityalias":"patchbay","imagetype":2,"messagepropertyname":"Target",
			"attributes":"title,customerid,statuscode,versionnumber,followupby","sdkmessageprocessingstepid@odata.bind":"/sdkmessageprocessingsteps(`+step+`)"}`))
		incident := made(t, b.do(http.MethodPost, dataversePath+"incidents", `{"title":"Wire","customerid_account@odata.bind":"/accounts(00a00000-5eed-4000-8000-000000000001)"}`))
		id <- incident
		require.Equal(t, http.StatusNoContent, b.do(http.MethodPatch, dataversePath+"incidents("+incident+")?tag=engine", `{"statuscode":3,"followupby":null}`).status)
		require.Empty(t, <-wrong)
	})
}

func TestTheSampleOfCaseNotificationsIsAChangeThatConcernsACustomer(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		last := ""
		for range 3 {
			sample := b.do(http.MethodGet, "/_sandbox/samples/case-notifications", "").json(t)
			id := fmt.Sprint(sample["incidentid"])
			require.NotEqual(t, last, id, "once it is made, there is another to make")
			last = id
			row := b.do(http.MethodGet, dataversePath+"incidents("+id+")?$select=statuscode,customer_email,msx_customerfacing", "").json(t)
			require.Contains(t, row["customer_email"], "@")
			require.Equal(t, true, row["msx_customerfacing"])
			change, err := json.Marshal(sample["change"])
			require.NoError(t, err)
			b.token = b.signIn(fmt.Sprint(sample["client_id"]))
			require.Equal(t, http.StatusNoContent, b.do(http.MethodPatch, dataversePath+"incidents("+id+")", string(change)).status)
			require.NotEqual(t, row["statuscode"], b.do(http.MethodGet, dataversePath+"incidents("+id+")?$select=statuscode", "").json(t)["statuscode"])
		}
	})
}
