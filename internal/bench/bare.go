package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/grpc/grpclog"
)

// vendors makes the two calls of product-specs by hand: what a careful engineer
// writes without Patchbay, with a token that is fetched once.
type vendors struct {
	base  string
	token string
	http  *http.Client
}

func newVendors(env *environment) *vendors {
	return &vendors{base: env.Sandbox, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}}
}

func (v *vendors) call(ctx context.Context, method, path string, in, out any) error {
	if v.token == "" {
		resp, err := v.http.PostForm(v.base+"/login/contoso/oauth2/v2.0/token", url.Values{
			"grant_type": {"client_credentials"}, "client_id": {"patchbay"}, "client_secret": {"sandbox-secret"}, "scope": {v.base + "/dataverse/.default"}})
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		var token struct {
			AccessToken string `json:"access_token"`
		}
		if err := json.NewDecoder(resp.Body).Decode(&token); err != nil {
			return err
		}
		v.token = token.AccessToken
	}
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, v.base+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+v.token)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("REST-Framework-Version", "4")
	req.Header.Set("OData-Version", "4.0")
	req.Header.Set("OData-MaxVersion", "4.0")
	resp, err := v.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s %.300s", method, path, resp.Status, b)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(b, out)
}

// specification is one row, as both sides write it.
type specification struct {
	Type  string `json:"@odata.type"`
	ID    string `json:"@odata.id"`
	Value string `json:"msx_value"`
	Unit  string `json:"msx_unit"`
}

// Read is the first activity: the specifications of one item.
func (v *vendors) Read(ctx context.Context, product string) ([]specification, error) {
	q := url.Values{"q": {"OrganizationCode='V1' and ItemNumber='" + product + "'"}, "expand": {"ItemEffCategory.ItemEFFBTechnicalSpecifications_Private"}, "limit": {"200"}}
	var page struct {
		Items []struct {
			ItemEffCategory struct {
				Items []struct {
					Specifications struct {
						Items []struct {
							AttributeName, AttributeValue, UnitOfMeasure string
						} `json:"items"`
					} `json:"ItemEFFBTechnicalSpecifications_Private"`
				} `json:"items"`
			}
		} `json:"items"`
	}
	if err := v.call(ctx, http.MethodGet, "/oracle/fscmRestApi/resources/11.13.18.05/itemsV2?"+q.Encode(), nil, &page); err != nil {
		return nil, err
	}
	var rows []specification
	for _, item := range page.Items {
		for _, category := range item.ItemEffCategory.Items {
			for _, line := range category.Specifications.Items {
				rows = append(rows, specification{
					Type:  "Microsoft.Dynamics.CRM.msx_specification",
					ID:    fmt.Sprintf("msx_specifications(msx_productnumber='%s',msx_attribute='%s')", product, line.AttributeName),
					Value: line.AttributeValue, Unit: line.UnitOfMeasure,
				})
			}
		}
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("no specifications of %s", product)
	}
	return rows, nil
}

// Write is the second activity: the same rows, in one call.
func (v *vendors) Write(ctx context.Context, rows []specification) error {
	return v.call(ctx, http.MethodPost, "/dataverse/api/data/v9.2/msx_specifications/Microsoft.Dynamics.CRM.UpsertMultiple",
		map[string]any{"Targets": rows}, nil)
}

// bare is the peer: one workflow, two activities, the SDK's defaults.
type bare struct {
	client client.Client
	worker worker.Worker
}

const bareQueue = "bench-bare"

func newBare(ctx context.Context, env *environment) (*bare, error) {
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard))
	c, err := client.DialContext(ctx, client.Options{HostPort: env.Temporal, Logger: silent{}})
	if err != nil {
		return nil, err
	}
	w := worker.New(c, bareQueue, worker.Options{})
	v := newVendors(env)
	w.RegisterWorkflowWithOptions(bareWorkflow, workflow.RegisterOptions{Name: "bare"})
	w.RegisterActivityWithOptions(v.Read, activity.RegisterOptions{Name: "read"})
	w.RegisterActivityWithOptions(v.Write, activity.RegisterOptions{Name: "write"})
	if err := w.Start(); err != nil {
		c.Close()
		return nil, err
	}
	return &bare{client: c, worker: w}, nil
}

func (b *bare) close() {
	b.worker.Stop()
	b.client.Close()
}

func bareWorkflow(ctx workflow.Context, product string) (int, error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: 30 * time.Second})
	var rows []specification
	if err := workflow.ExecuteActivity(ctx, "read", product).Get(ctx, &rows); err != nil {
		return 0, err
	}
	return len(rows), workflow.ExecuteActivity(ctx, "write", rows).Get(ctx, nil)
}

// press runs one workflow to its end, eagerly, as Patchbay starts its own.
func (b *bare) press(ctx context.Context, product string) error {
	run, err := b.client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: "bare-" + rand.Text(), TaskQueue: bareQueue, EnableEagerStart: true}, "bare", product)
	if err != nil {
		return err
	}
	return run.Get(ctx, nil)
}

// silent drops the SDK's log lines.
type silent struct{}

func (silent) Debug(string, ...any) {}
func (silent) Info(string, ...any)  {}
func (silent) Warn(string, ...any)  {}
func (silent) Error(string, ...any) {}
