package httpapi_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"patchbay/internal/flow"
	"patchbay/internal/httpapi"
)

// prompt answers every press at once: what is left is the API itself.
type prompt struct{ *book }

func (p prompt) Press(context.Context, flow.Press) (flow.Run, error) {
	now := time.Now()
	return flow.Run{RunID: "mzxw6ytboi2gk3tuobqwg2dcmf", Flow: "product-specs", Status: flow.Accepted, AcceptedAt: now}, nil
}

func (p prompt) Get(_ context.Context, id string) (flow.Run, error) {
	now := time.Now()
	rows := make([]flow.Row, 12)
	for i := range rows {
		rows[i] = flow.Row{"msx_productnumber": "AS54888", "msx_attribute": fmt.Sprint("Weight ", i), "msx_value": "12.5", "msx_unit": "kg"}
	}
	return flow.Run{RunID: id, Flow: "product-specs", Status: flow.Running, AcceptedAt: now, AnsweredAt: &now,
		Result: &flow.Result{Rows: rows, Count: len(rows)}, Progress: []flow.Step{{Name: "accepted", At: now}, {Name: "answered", At: now}}}, nil
}

// BenchmarkPress is what the API costs without a database: 256 clients that keep
// their connections, an answer of twelve rows.
func BenchmarkPress(b *testing.B) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	book := prompt{newBook()}
	server := httpapi.NewServer(httpapi.Options{Trigger: book, Runs: book, Canceller: book, Flows: catalogue{}, Explainer: journal{}, Readiness: checks{}, Dev: true})
	go func() { ended <- server.Run(ctx, ln) }()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
	defer func() { client.CloseIdleConnections(); stop(); <-ended }()
	next := make(chan struct{}, 256)
	var clients sync.WaitGroup
	for range 256 {
		clients.Go(func() {
			for range next {
				res, err := client.Post("http://"+ln.Addr().String()+pressPath, "application/json", bytes.NewReader([]byte(product)))
				if err != nil {
					b.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
				if res.StatusCode != http.StatusOK {
					b.Error(res.Status)
				}
			}
		})
	}
	for b.Loop() {
		next <- struct{}{}
	}
	close(next)
	clients.Wait()
}
