package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/smtp"
	"strconv"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

// registerTelling adds what one workflow per event does: it sends the mail, and nothing
// is read, collapsed or recorded.
func registerTelling(w worker.Worker, mail string) {
	w.RegisterWorkflowWithOptions(func(ctx workflow.Context, name string) error {
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: 30 * time.Second})
		return workflow.ExecuteActivity(ctx, "tell", name).Get(ctx, nil)
	}, workflow.RegisterOptions{Name: "bare-event"})
	w.RegisterActivityWithOptions(func(name string) error {
		text := "From: service@contoso.example\r\nTo: " + name + "@customer.example\r\nSubject: No power in building 12\r\nMessage-ID: <" + rand.Text() +
			"@contoso.example>\r\nContent-Type: text/html\r\n\r\n<p>Your case " + name + " is 5.</p>\r\n"
		return send(mail, name+"@customer.example", text)
	}, activity.RegisterOptions{Name: "tell"})
}

// send sends one mail without TLS, as the flow does to a server on this machine:
// smtp.SendMail would insist on the certificate.
func send(mail, to, text string) error {
	c, err := smtp.Dial(mail)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := c.Mail("service@contoso.example"); err != nil {
		return err
	}
	if err := c.Rcpt(to); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, text); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return c.Quit()
}

// tellWith starts a workflow for each of so many events, and answers when all have ended.
func tellWith(c client.Client) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(r.URL.Query().Get("n"))
		if err == nil {
			err = tellEach(r.Context(), c, n)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	}
}

func tellEach(ctx context.Context, c client.Client, n int) error {
	runs := make([]client.WorkflowRun, n)
	for i := range runs {
		name := "bare-" + rand.Text()
		var err error
		if runs[i], err = c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: name, TaskQueue: peerQueue, EnableEagerStart: true}, "bare-event", name); err != nil {
			return err
		}
	}
	for _, run := range runs {
		if err := run.Get(ctx, nil); err != nil {
			return err
		}
	}
	return nil
}

// tellBare has the peer tell of so many events.
func tellBare(ctx context.Context, p *peer, n int) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, fmt.Sprintf("%s/tell?n=%d", p.url, n), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 300))
		return fmt.Errorf("one workflow per event: %s %s", resp.Status, text)
	}
	return nil
}
