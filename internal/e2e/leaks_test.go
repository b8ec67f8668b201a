//go:build residency

package e2e

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

// leak is one way in which a restricted value could come to region fr. Each takes the
// real way: the region's own database, its Temporal, its files, a system's record of calls.
type leak struct {
	way  string
	leak func(t *testing.T, r *regions, value, token string)
}

var leaking = []leak{
	{"column too many in the egress table", func(t *testing.T, r *regions, value, _ string) {
		var relation string
		c := r.in(t, "fr")
		require.NoError(t, c.QueryRow(t.Context(), `select relation from egress.border where "table" = 'account'`).Scan(&relation))
		name := pgx.Identifier{"egress", relation}.Sanitize()
		r.sql(t, `alter table `+name+` add column msx_diagnosis text`)
		r.sql(t, `insert into `+name+` (":batch", ":n", msx_diagnosis) values (9223372036854775807, 1, $1)`, value)
	}},
	{"select with all columns, kept as it came", func(t *testing.T, r *regions, value, _ string) {
		r.sql(t, `create table leaked (row jsonb)`)
		r.sql(t, `insert into leaked values (jsonb_build_object('name', 'x', 'msx_diagnosis', $1::text))`, value)
	}},
	{"row that was deleted again", func(t *testing.T, r *regions, value, _ string) {
		r.sql(t, `create table deleted (row text)`)
		r.sql(t, `insert into deleted values ($1)`, value)
		r.sql(t, `delete from deleted`)
	}},
	{"journal entry", func(t *testing.T, r *regions, value, _ string) {
		r.sql(t, `insert into journal (flow, run, what, reason, keys) values ('account-sync', 'leak', 'accepted', 'accepted', array[$1])`, value)
	}},
	{"cursor with a value", func(t *testing.T, r *regions, value, _ string) {
		r.sql(t, `create table cursors (cursor text)`)
		r.sql(t, `insert into cursors values ($1)`, base64.URLEncoding.EncodeToString([]byte(`{"after":"`+value+`"}`)))
	}},
	{"key in the query of a call", func(t *testing.T, r *regions, _, token string) {
		_, _ = r.dataverse("fr", http.MethodGet, "accounts?$select=name&$filter="+url.PathEscape("accountnumber eq '"+token+"'"), nil)
	}},
	{"log line with the row", func(t *testing.T, r *regions, value, _ string) {
		r.append(t, "log/region-fr.log", fmt.Sprintf(`{"level":"debug","msg":"row","row":{"msx_diagnosis":%q}}`+"\n", value))
	}},
	{"log line with the row as bytes", func(t *testing.T, r *regions, value, _ string) {
		r.append(t, "log/region-fr.log", fmt.Sprintf("body: %v\n", []byte(value)))
	}},
	{"dump for debugging, compressed", func(t *testing.T, r *regions, value, _ string) {
		r.append(t, "dump.gz", string(squeeze(t, value)))
	}},
	{"workflow ID", func(t *testing.T, r *regions, _, token string) {
		r.workflow(t, client.StartWorkflowOptions{ID: "synchronization/account-sync/" + token})
	}},
	{"search attribute", func(t *testing.T, r *regions, _, token string) {
		r.workflow(t, client.StartWorkflowOptions{ID: "attribute", TypedSearchAttributes: temporal.NewSearchAttributes(
			temporal.NewSearchAttributeKeyKeyword("PatchbayFlow").ValueSet(token))})
	}},
	{"payload that is compressed", func(t *testing.T, r *regions, value, _ string) {
		r.workflow(t, client.StartWorkflowOptions{ID: "payload"}, squeeze(t, value))
	}},
	{"detail of a heartbeat", func(t *testing.T, r *regions, value, _ string) { r.beat(t, "heartbeat", value, false) }},
	{"text of an error", func(t *testing.T, r *regions, value, _ string) { r.beat(t, "error", value, true) }},
}

func squeeze(t *testing.T, value string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := fmt.Fprintf(w, `{"rows":[{"msx_diagnosis":%q}]}`, value)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return out.Bytes()
}

func (r *regions) in(t *testing.T, region string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), r.where.Regions[region].Database)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

func (r *regions) sql(t *testing.T, sql string, args ...any) {
	t.Helper()
	_, err := r.in(t, "fr").Exec(t.Context(), sql, args...)
	require.NoError(t, err)
}

func (r *regions) append(t *testing.T, name, text string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(r.dir, name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	_, err = f.WriteString(text)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

func (r *regions) dial(t *testing.T) client.Client {
	t.Helper()
	c, err := client.DialContext(t.Context(), client.Options{HostPort: r.where.Regions["fr"].Temporal})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// workflow starts one that nobody carries out.
func (r *regions) workflow(t *testing.T, options client.StartWorkflowOptions, args ...any) {
	t.Helper()
	options.TaskQueue = "leaks"
	_, err := r.dial(t).ExecuteWorkflow(t.Context(), options, "leak", args...)
	require.NoError(t, err)
}

// beat runs an activity that tells of a value by a heartbeat, or by how it fails.
func (r *regions) beat(t *testing.T, name, value string, fail bool) {
	t.Helper()
	c := r.dial(t)
	told := make(chan struct{})
	w := worker.New(c, "leaks-"+name, worker.Options{})
	w.RegisterActivityWithOptions(func(ctx context.Context) error {
		defer close(told)
		if fail {
			return temporal.NewNonRetryableApplicationError("duplicate key: ("+value+")", "rejected", nil)
		}
		activity.RecordHeartbeat(ctx, map[string]string{"last": value})
		<-time.After(300 * time.Millisecond) // the SDK sends the first at once, from another goroutine
		return temporal.NewApplicationError("again", "again")
	}, activity.RegisterOptions{Name: "leak"})
	w.RegisterWorkflowWithOptions(func(ctx workflow.Context) error {
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute, HeartbeatTimeout: time.Minute,
			RetryPolicy: &temporal.RetryPolicy{InitialInterval: time.Hour}})
		return workflow.ExecuteActivity(ctx, "leak").Get(ctx, nil)
	}, workflow.RegisterOptions{Name: "leak"})
	require.NoError(t, w.Start())
	defer w.Stop()
	_, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: strings.ReplaceAll(name, " ", "-"), TaskQueue: "leaks-" + name}, "leak")
	require.NoError(t, err)
	select {
	case <-told:
	case <-time.After(time.Minute):
		require.Fail(t, "the activity did not run")
	}
	<-time.After(300 * time.Millisecond) // its answer travels
}
