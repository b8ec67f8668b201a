package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	"patchbay/internal/flow"
	"patchbay/internal/store/storetest"
)

var openServices = flag.Int("open-services", 40, "runs of a service that are open while an incompatible build is rolled out")

// incompatible builds, once, a patchbay whose services begin with a step that older ones do not
// have: no run of an older build replays on it.
var incompatible = sync.OnceValues(func() (string, error) {
	path, err := binary()
	if err != nil {
		return "", err
	}
	source, err := filepath.Abs("../../workflows/service.go")
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(source)
	if err != nil {
		return "", err
	}
	const begins = "undo, broken, err := s.tasks(ctx, in.Skeleton.Tasks)"
	changed := bytes.Replace(text, []byte(begins), []byte("_ = workflow.Sleep(ctx, time.Millisecond)\n\t"+begins), 1)
	if bytes.Equal(text, changed) {
		return "", errors.New("workflows/service.go does not begin as this test thinks")
	}
	dir := filepath.Dir(path)
	file, overlay := filepath.Join(dir, "service.go"), filepath.Join(dir, "incompatible.json")
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{source: file}})
	if err != nil {
		return "", err
	}
	for name, content := range map[string][]byte{file: changed, overlay: replace} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			return "", err
		}
	}
	next := path + "-incompatible"
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-overlay", overlay, "-o", next, "patchbay").CombinedOutput(); err != nil {
		return "", fmt.Errorf("building an incompatible patchbay: %w\n%s", err, out)
	}
	return next, nil
})

// installCompany is an installation whose flows are those of a company, and more.
func installCompany(t *testing.T, more map[string]string) (e *erp, i *installation, worker *program) {
	t.Helper()
	owner := storetest.Empty(t)
	conn, err := pgx.Connect(t.Context(), owner)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	_, err = conn.Exec(t.Context(), serviceTables)
	require.NoError(t, err)
	u, err := url.Parse(owner)
	require.NoError(t, err)
	password, _ := u.User.Password()
	user := u.User.Username()
	u.User, u.RawQuery = nil, ""
	i, worker = install(t, func(i *installation) {
		secret := filepath.Join(i.dir, "erp-password")
		i.flows = filepath.Join(i.dir, "flows")
		require.NoError(t, os.WriteFile(secret, []byte(password), 0o600))
		require.NoError(t, os.Mkdir(i.flows, 0o755))
		files := map[string]string{"connections": fmt.Sprintf(serviceConnections, u.String(), user, secret)}
		maps.Copy(files, more)
		for name, text := range files {
			require.NoError(t, os.WriteFile(filepath.Join(i.flows, name+".yaml"), []byte(text), 0o600))
		}
	})
	return &erp{patchbay: i.patchbay, sql: conn}, i, worker
}

// eachOf does something for each of n, several at a time.
func eachOf(t *testing.T, n int, do func(k int) error) {
	t.Helper()
	var all errgroup.Group
	all.SetLimit(16)
	for k := range n {
		all.Go(func() error { return do(k) })
	}
	require.NoError(t, all.Wait())
}

// Services wait for weeks, and builds come in days: who began on the old build ends there, also
// when its worker is killed meanwhile. While the new build ramps it takes a part of what begins,
// and once it is current all. Temporal and the tables are the judges.
func TestOpenServicesEndOnTheBuildTheyBeganWith(t *testing.T) {
	t.Parallel()
	old, err := binary()
	require.NoError(t, err)
	next, err := incompatible()
	require.NoError(t, err)
	e, i, first := installCompany(t, map[string]string{"voyage": fmt.Sprintf(voyageFlow, "30d")})
	i.serve(old, freePort(t))
	n, ramped, later := *openServices, 24, 5
	all := n + ramped + later
	ids := make([]string, all)
	as := i.as()
	as.Set("Prefer", "wait=0")
	as.Set("Content-Type", "application/json")
	post := func(path, body string, into any) error {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, i.HTTP+path, bytes.NewBufferString(body))
		if err != nil {
			return err
		}
		req.Header = as.Clone()
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode >= 300 {
			return fmt.Errorf("%s: %s", path, resp.Status)
		}
		return json.NewDecoder(resp.Body).Decode(into)
	}
	began := time.Now()
	stage := func(what string) { t.Logf("%6.1f s: %s", time.Since(began).Seconds(), what) }
	press := func(k int) error {
		var run flow.Run
		err := post("/v1/flows/voyage/runs", fmt.Sprintf(`{"nr":"n%d"}`, k), &run)
		ids[k] = run.RunID
		return err
	}
	eachOf(t, n, press)
	const patience = 5 * time.Minute
	i.await("all runs wait", patience, func() bool {
		return i.count(`select count(*) from topic_wait where ended_at is null and task = 'departed'`) == n
	})
	stage(fmt.Sprintf("%d runs are open", n))
	i.worker(next)
	i.run(next, slices.Insert(i.applying(), 1, "--ramp", "50")...).ended(2 * time.Minute)
	stage("half of what is new begins on the incompatible build")
	eachOf(t, ramped, func(k int) error { return press(n + k) })
	i.await("those wait too", patience, func() bool {
		return i.count(`select count(*) from topic_wait where ended_at is null and task = 'departed'`) == n+ramped
	})
	i.promote(next)
	stage("the incompatible build is current")
	eachOf(t, later, func(k int) error { return press(n + ramped + k) })
	tell := func(status string, from, to int) {
		eachOf(t, to-from, func(k int) error {
			return post("/v1/events/shipped.v1", fmt.Sprintf(`{"id":"%s-%d","data":{"nr":"n%d","status":%q,"vessel":"V"}}`, status, from+k, from+k, status), &flow.TopicEvent{})
		})
	}
	tell("departed", 0, n/2)
	first.kill()
	tell("departed", n/2, all)
	stage("the old worker was killed")
	first = i.worker(old)
	tell("arrived", 0, all)
	i.await("all runs end", patience, func() bool { return i.count(`select count(*) from work where closed_at is null`) == 0 })
	stage("all have ended")
	first.terminate()
	first.ended(time.Minute)
	stage("the old worker has ended")

	require.Equal(t, all, i.count(`select count(*) from work where state = 'completed'`), "none failed, none was lost")
	require.EqualValues(t, all, e.number(`select count(*) from (select nr from written group by nr having
		count(*) filter (where tbl = 'sale' and state = 'open') = 1 and count(*) filter (where tbl = 'notice') = 1 and count(*) = 2) as w`), "each effect once")
	temporal, err := client.Dial(client.Options{HostPort: i.Temporal})
	require.NoError(t, err)
	defer temporal.Close()
	workflows := make([]string, all)
	for k, id := range ids {
		var run flow.Run
		i.do(http.MethodGet, i.HTTP+"/v1/runs/"+id, i.as(), "", &run)
		workflows[k] = run.WorkflowID
	}
	builds := map[string]map[string]int{"open": {}, "ramped": {}, "later": {}}
	var mu sync.Mutex
	eachOf(t, all, func(k int) error {
		d, err := temporal.DescribeWorkflowExecution(t.Context(), workflows[k], "")
		if err != nil {
			return err
		}
		info := d.GetWorkflowExecutionInfo()
		if info.GetStatus() != enums.WORKFLOW_EXECUTION_STATUS_COMPLETED {
			return fmt.Errorf("run %d is %s", k, info.GetStatus())
		}
		build := info.GetVersioningInfo().GetDeploymentVersion().GetBuildId()
		mu.Lock()
		defer mu.Unlock()
		switch {
		case k < n:
			builds["open"][build]++
		case k < n+ramped:
			builds["ramped"][build]++
		default:
			builds["later"][build]++
		}
		return nil
	})
	t.Log(builds)
	require.Len(t, builds["open"], 1, "they end on the build they began with")
	require.Len(t, builds["ramped"], 2, "some on each")
	require.Len(t, builds["later"], 1)
	for build := range builds["later"] {
		require.NotContains(t, builds["open"], build)
	}
}
