package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// What a document of contract-distribution belongs to in the stand-ins.
const (
	documentOrder = "11"
	documentItem  = "AS54888"
	// most that the memory of Patchbay may grow, and its time beside a plain copy.
	documentMemory = 64 << 20
	documentTime   = 1.3
)

// documents measures how a document gets from SharePoint to SAP and Oracle, beside a plain
// program that streams it once to both by the same protocols.
func documents(ctx context.Context, env *environment, o options) error {
	for _, megabytes := range o.documents {
		if err := env.distribute(ctx, int64(megabytes)*1_000_000, o.rounds); err != nil {
			return err
		}
	}
	return nil
}

func (e *environment) distribute(ctx context.Context, size int64, rounds int) error {
	c, err := newCopier(e.sandbox)
	if err != nil {
		return err
	}
	pid := e.running["patchbay"]
	var ours, plain, grown, quotients []float64
	for round := range rounds + 1 { // the first warms up what is warm from then on
		path := fmt.Sprintf("/Contracts/bench-%d-%d.bin", size, round)
		id, sum, err := e.document(ctx, path, size)
		if err != nil {
			return err
		}
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
		idle, err := resident(pid)
		if err != nil {
			return err
		}
		stop, began := watchMemory(pid), time.Now()
		err = e.deliver(ctx, id)
		took, memory := time.Since(began), slices.Max(stop())-idle
		if err != nil {
			return err
		}
		if err := e.stands(ctx, path[len("/Contracts/"):], sum); err != nil {
			return err
		}
		began = time.Now()
		if err := c.copy(ctx, id, fmt.Sprintf("plain-%d-%d.bin", size, round), size); err != nil {
			return fmt.Errorf("copying plainly: %w", err)
		}
		beside := time.Since(began)
		if err := e.stands(ctx, fmt.Sprintf("plain-%d-%d.bin", size, round), sum); err != nil {
			return err
		}
		if round == 0 {
			continue
		}
		ours, plain = append(ours, took.Seconds()), append(plain, beside.Seconds())
		grown, quotients = append(grown, float64(memory)/(1<<20)), append(quotients, took.Seconds()/beside.Seconds())
	}
	fmt.Printf("\na document of %d MB from SharePoint to SAP and Oracle, in seconds\n", size/1_000_000)
	fmt.Printf("  patchbay, kept by its checksum in between   %s\n", spread(ours, 2))
	fmt.Printf("  a plain program, streamed once to both      %s\n", spread(plain, 2))
	fmt.Printf("  as many times as long                       %s; the goal is at most %.1f: %s\n", spread(quotients, 2), documentTime, met(median(quotients) <= documentTime))
	fmt.Printf("  memory of patchbay above idle, MiB          %s; the goal is below %d: %s\n", spread(grown, 1), documentMemory>>20, met(slices.Max(grown) < documentMemory>>20))
	return nil
}

func met(yes bool) string {
	if yes {
		return "met"
	}
	return "NOT met"
}

// document makes a file in SharePoint of a size, and gives its ID and checksum.
func (e *environment) document(ctx context.Context, path string, size int64) (id, sum string, err error) {
	body, err := json.Marshal(map[string]any{"path": path, "size": size})
	if err != nil {
		return "", "", err
	}
	if err := ask(ctx, http.MethodPut, e.sandbox+"/_sandbox/documents", body, nil); err != nil {
		return "", "", err
	}
	var made struct{ ID, SHA256 string }
	err = ask(ctx, http.MethodGet, e.sandbox+"/_sandbox/documents?path="+url.QueryEscape(path), nil, &made)
	return made.ID, made.SHA256, err
}

// deliver has contract-distribution carry a document, and waits for its end.
func (e *environment) deliver(ctx context.Context, id string) error {
	var run struct {
		RunID   string `json:"run_id"`
		Status  string `json:"status"`
		Problem *struct{ Code, Detail string }
	}
	body, err := json.Marshal(map[string]string{"id": id, "order": documentOrder, "item": documentItem})
	if err != nil {
		return err
	}
	if err := ask(ctx, http.MethodPost, e.api+"/v1/flows/contract-distribution/runs", body, &run); err != nil {
		return err
	}
	for run.Status != "completed" {
		if run.Status == "failed" || run.Status == "cancelled" {
			return fmt.Errorf("the run %s of contract-distribution has %s: %v", run.RunID, run.Status, run.Problem)
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
		if err := ask(ctx, http.MethodGet, e.api+"/v1/runs/"+run.RunID, nil, &run); err != nil {
			return err
		}
	}
	return nil
}

// stands asks the stand-ins whether both have a document with its content, once.
func (e *environment) stands(ctx context.Context, name, sum string) error {
	for _, system := range []string{"sap", "oracle"} {
		var all []struct{ Name, SHA256 string }
		if err := ask(ctx, http.MethodGet, e.sandbox+"/_sandbox/"+system+"/documents", nil, &all); err != nil {
			return err
		}
		n := 0
		for _, d := range all {
			if d.Name == name && d.SHA256 == sum {
				n++
			}
		}
		if n != 1 {
			return fmt.Errorf("%s has %d documents %s of the right content", system, n, name)
		}
	}
	return nil
}

func ask(ctx context.Context, method, address string, body []byte, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Prefer", "wait=0")
	return (&vendors{http: http.DefaultClient}).do(req, out)
}

// copier is the plain program: it knows the addresses, signs in, and streams.
type copier struct {
	base string
	http *http.Client
}

func newCopier(sandbox string) (*copier, error) {
	jar, err := cookiejar.New(nil) // SAP's token belongs to a session
	return &copier{sandbox, &http.Client{Jar: jar}}, err
}

// copy reads a document once and sends it to both while it comes.
func (c *copier) copy(ctx context.Context, id, name string, size int64) error {
	from, err := c.open(ctx, id)
	if err != nil {
		return err
	}
	defer from.Close()
	toSAP, sap := io.Pipe()
	toOracle, oracle := io.Pipe()
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() error {
		_, err := io.CopyBuffer(io.MultiWriter(sap, oracle), from, make([]byte, 256<<10))
		return errors.Join(err, sap.CloseWithError(err), oracle.CloseWithError(err))
	})
	all.Go(func() error {
		err := c.attachToOrder(ctx, name, toSAP, size)
		return errors.Join(err, toSAP.CloseWithError(err))
	})
	all.Go(func() error {
		err := c.attachToItem(ctx, name, toOracle, size)
		return errors.Join(err, toOracle.CloseWithError(err))
	})
	return all.Wait()
}

// open signs in to SharePoint and opens a file of the first library.
func (c *copier) open(ctx context.Context, id string) (io.ReadCloser, error) {
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {"patchbay"}, "client_secret": {sandboxSecret}, "scope": {c.base + "/graph/.default"}}
	var token struct {
		AccessToken string `json:"access_token"`
	}
	if _, err := c.send(ctx, http.MethodPost, "/login/contoso/oauth2/v2.0/token", strings.NewReader(form.Encode()), -1, http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, &token); err != nil {
		return nil, err
	}
	signed := http.Header{"Authorization": {"Bearer " + token.AccessToken}, "Accept": {"application/json"}}
	var site, library, file map[string]any
	if _, err := c.send(ctx, http.MethodGet, "/graph/v1.0/sites/contoso.sharepoint.com:/sites/ops", nil, 0, signed, &site); err != nil {
		return nil, err
	}
	if _, err := c.send(ctx, http.MethodGet, fmt.Sprintf("/graph/v1.0/sites/%v/drive", site["id"]), nil, 0, signed, &library); err != nil {
		return nil, err
	}
	if _, err := c.send(ctx, http.MethodGet, fmt.Sprintf("/graph/v1.0/drives/%v/items/%s", library["id"], id), nil, 0, signed, &file); err != nil {
		return nil, err
	}
	address, _ := file["@microsoft.graph.downloadUrl"].(string)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err == nil && resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		err = fmt.Errorf("downloading: %s", resp.Status)
	}
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// attachToOrder sends an attachment to SAP, whose token it fetches first.
func (c *copier) attachToOrder(ctx context.Context, name string, body io.Reader, size int64) error {
	const root = "/sap/sap/opu/odata/sap/API_CV_ATTACHMENT_SRV/"
	signed := func() http.Header {
		return http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte("patchbay:"+sandboxSecret))}, "Accept": {"application/json"}}
	}
	h := signed()
	h.Set("X-Csrf-Token", "Fetch")
	got, err := c.send(ctx, http.MethodGet, root+"?sap-client=100", nil, 0, h, nil)
	if err != nil {
		return err
	}
	h = signed()
	h.Set("X-Csrf-Token", got.Get("X-Csrf-Token"))
	h.Set("Slug", name)
	h.Set("BusinessObjectTypeName", "BUS2032")
	h.Set("LinkedSAPObjectKey", fmt.Sprintf("%010s", documentOrder))
	h.Set("Content-Type", "application/octet-stream")
	_, err = c.send(ctx, http.MethodPost, root+"AttachmentContentSet?sap-client=100", body, size, h, nil)
	return err
}

// attachToItem sends an attachment to Oracle, as base64 inside of JSON.
func (c *copier) attachToItem(ctx context.Context, name string, body io.Reader, size int64) error {
	h := http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte("patchbay:"+sandboxSecret))}, "Accept": {"application/json"},
		"Content-Type": {"application/json"}, "Rest-Framework-Version": {"4"}}
	var found struct {
		Items []struct {
			Links []struct{ Rel, Href string }
		}
	}
	q := url.Values{"q": {"OrganizationCode='V1' and ItemNumber='" + documentItem + "'"}, "fields": {"ItemNumber"}, "links": {"self"}}
	if _, err := c.send(ctx, http.MethodGet, itemsPath+"?"+q.Encode(), nil, 0, h, &found); err != nil {
		return err
	}
	if len(found.Items) != 1 || len(found.Items[0].Links) == 0 {
		return errors.New("no address of the item is given by Oracle")
	}
	at, err := url.Parse(found.Items[0].Links[0].Href)
	if err != nil {
		return err
	}
	head := fmt.Sprintf(`{"DatatypeCode":"FILE","FileName":%q,"Title":%[1]q,"CategoryName":"MISC","UploadedFileContentType":"application/octet-stream","FileContents":"`, name)
	r, w := io.Pipe()
	go func() {
		encoder := base64.NewEncoder(base64.StdEncoding, w)
		_, err := io.CopyBuffer(encoder, body, make([]byte, 48<<10))
		_ = w.CloseWithError(errors.Join(err, encoder.Close()))
	}()
	_, err = c.send(ctx, http.MethodPost, at.Path+"/child/ItemAttachment", io.MultiReader(strings.NewReader(head), r, strings.NewReader(`"}`)),
		int64(len(head))+(size+2)/3*4+2, h, nil)
	return err
}

// send makes one request; a size of -1 is not said.
func (c *copier) send(ctx context.Context, method, path string, body io.Reader, size int64, h http.Header, out any) (http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, err
	}
	req.Header = h
	if size >= 0 {
		req.ContentLength = size
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return nil, err
	case resp.StatusCode >= 300:
		return nil, fmt.Errorf("%s %s: %s %.300s", method, req.URL.Path, resp.Status, text)
	case out == nil:
		return resp.Header, nil
	}
	return resp.Header, json.Unmarshal(text, out)
}
