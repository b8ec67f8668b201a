package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// most is how many connections a client of ours keeps to one host: more than
// there are callers, so that none is closed and opened again.
const most = 512

// vendors makes the two calls of product-specs by hand: what a careful engineer
// writes without Patchbay, with a token that is fetched once.
type vendors struct {
	base  string
	token string
	http  *http.Client
}

func newVendors(ctx context.Context, sandbox string) (*vendors, error) {
	v := &vendors{base: sandbox, http: &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: most}}}
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {"patchbay"}, "client_secret": {sandboxSecret}, "scope": {sandbox + "/dataverse/.default"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, sandbox+"/login/contoso/oauth2/v2.0/token", bytes.NewReader([]byte(form.Encode())))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	var token struct {
		AccessToken string `json:"access_token"`
	}
	if err := v.do(req, &token); err != nil {
		return nil, err
	}
	v.token = token.AccessToken
	return v, nil
}

func (v *vendors) call(ctx context.Context, method, path string, in, out any) error {
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
	return v.do(req, out)
}

func (v *vendors) do(req *http.Request, out any) error {
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
		return fmt.Errorf("%s %s: %s %.300s", req.Method, req.URL.Path, resp.Status, b)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(b, out)
}

const itemsPath = "/oracle/fscmRestApi/resources/11.13.18.05/itemsV2"

// products lists the item numbers, so that presses have distinct parameters.
func (v *vendors) products(ctx context.Context) ([]string, error) {
	var products []string
	for more := true; more; {
		var page struct {
			Items []struct {
				ItemNumber string `json:"ItemNumber"`
			} `json:"items"`
			HasMore bool `json:"hasMore"`
		}
		path := fmt.Sprintf("%s?onlyData=true&fields=ItemNumber&orderBy=ItemNumber&limit=499&offset=%d", itemsPath, len(products))
		if err := v.call(ctx, http.MethodGet, path, nil, &page); err != nil {
			return nil, fmt.Errorf("listing products: %w", err)
		}
		for _, item := range page.Items {
			products = append(products, item.ItemNumber)
		}
		more = page.HasMore && len(page.Items) > 0
	}
	if len(products) == 0 {
		return nil, fmt.Errorf("the sandbox has no products")
	}
	return products, nil
}

// specification is one row, as the answer of a press shows it.
type specification struct {
	Product   string `json:"msx_productnumber"`
	Attribute string `json:"msx_attribute"`
	Value     string `json:"msx_value"`
	Unit      string `json:"msx_unit"`
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
	if err := v.call(ctx, http.MethodGet, itemsPath+"?"+q.Encode(), nil, &page); err != nil {
		return nil, err
	}
	var rows []specification
	for _, item := range page.Items {
		for _, category := range item.ItemEffCategory.Items {
			for _, line := range category.Specifications.Items {
				rows = append(rows, specification{Product: product, Attribute: line.AttributeName, Value: line.AttributeValue, Unit: line.UnitOfMeasure})
			}
		}
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("no specifications of %s", product)
	}
	return rows, nil
}

// target is one row, as Dataverse takes it.
type target struct {
	Type  string `json:"@odata.type"`
	ID    string `json:"@odata.id"`
	Value string `json:"msx_value"`
	Unit  string `json:"msx_unit"`
}

// Write is the second activity: the same rows, in one call.
func (v *vendors) Write(ctx context.Context, rows []specification) error {
	targets := make([]target, len(rows))
	for i, row := range rows {
		targets[i] = target{
			Type:  "Microsoft.Dynamics.CRM.msx_specification",
			ID:    fmt.Sprintf("msx_specifications(msx_productnumber='%s',msx_attribute='%s')", row.Product, row.Attribute),
			Value: row.Value, Unit: row.Unit,
		}
	}
	return v.call(ctx, http.MethodPost, "/dataverse/api/data/v9.2/msx_specifications/Microsoft.Dynamics.CRM.UpsertMultiple",
		map[string]any{"Targets": targets}, nil)
}
