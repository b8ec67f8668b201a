package crash

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
)

var shipkills = flag.Int("shipkills", 12, "how many random blows fall while orders are shipped")

// shipSpeed is how many times as fast the sandbox's carrier is: a ship arrives after six
// seconds.
const shipSpeed = 10

// shipping are the example flows of orders.
var shipping = []string{"order-approved.yaml", "shipment-tracking.yaml", "order-to-shipment.yaml"}

type (
	// harbour is orders that somebody approves in the sandbox's Dataverse. What becomes of
	// them is judged by what the sandbox's systems have in the end.
	harbour struct {
		w        *world
		products []string

		mu   sync.Mutex
		list []*cargo
	}

	// cargo is one order.
	cargo struct {
		nr, step string
		refused  bool          // the carrier refuses the booking
		cancel   time.Duration // after its run has begun; never: nobody does
		run      string
		err      error
	}
)

// launch puts the flows of orders into the directory.
func launch(t *testing.T, dir string) {
	t.Helper()
	for _, name := range shipping {
		text, err := os.ReadFile(filepath.Join("../../flows", name))
		require.NoError(t, err)
		often := strings.NewReplacer("sweep: 5m", "sweep: 10s", "sweep: 15m", "sweep: 10s").Replace(string(text))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "flows", name), []byte(often), 0o600))
	}
}

// openHarbour has the sandbox deliver what happens, and waits until what was there before is
// known.
func openHarbour(w *world) *harbour {
	w.t.Helper()
	require.NoError(w.t, w.applyingWith([]string{"--hooks", w.serve.at}).Wait())
	conn, err := w.owner()
	require.NoError(w.t, err)
	defer func() { _ = conn.Close(w.ctx) }()
	w.await("swept once", 2*time.Minute, func() bool {
		var n int
		return conn.QueryRow(w.ctx, `select count(*) from cursor where swept_at is not null and flow in ('order-approved', 'shipment-tracking')`).Scan(&n) == nil && n == 2
	})
	rows, err := w.judge.Query(w.ctx, `select distinct msx_productnumber from dataverse.salesorderdetail order by 1`)
	require.NoError(w.t, err)
	products, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(w.t, err)
	require.NotEmpty(w.t, products)
	return &harbour{w: w, products: products}
}

// ship has an order approved, in one of three ways in turn: it goes through, the carrier
// refuses it, or its ship stays in the harbour and somebody cancels.
func (h *harbour) ship(step string, r *rand.Rand) {
	h.mu.Lock()
	n := len(h.list) + 1
	c := &cargo{nr: fmt.Sprintf("W-%04d", n), step: step, cancel: never}
	h.list = append(h.list, c)
	h.mu.Unlock()
	rule := ""
	switch n % 4 {
	case 1:
		c.refused, rule = true, `{"booking":"reject"}`
	case 2:
		c.cancel, rule = time.Duration(r.IntN(15_000))*time.Millisecond, `{"stop":true}`
	case 3:
		rule = `{"out_of_order":true}`
	}
	h.w.under.Go(func() { c.err = h.approve(c, rule, h.products[n%len(h.products)]) })
}

func (h *harbour) approve(c *cargo, rule, product string) error {
	if rule != "" {
		if err := h.control(http.MethodPut, "/_sandbox/maersk/decisions/"+c.nr, rule); err != nil {
			return err
		}
	}
	s := h.w.senders
	err := s.dataverse(http.MethodPost, "salesorders", fmt.Sprintf(`{"ordernumber":%q,"name":"crash","statuscode":1,"msx_readyon":"2026-03-01","msx_loadingport":"DKAAR","msx_dischargeport":"CNSHA",
		"customerid_account@odata.bind":"/accounts(%s)"}`, c.nr, s.account()), nil)
	if err == nil {
		err = s.dataverse(http.MethodPost, "salesorderdetails", fmt.Sprintf(`{"lineitemnumber":1,"msx_productnumber":%q,"quantity":1,"salesorderid@odata.bind":"/salesorders(ordernumber='%s')"}`, product, c.nr), nil)
	}
	if err == nil {
		err = s.dataverse(http.MethodPatch, "salesorders(ordernumber='"+c.nr+"')", `{"statuscode":717750001}`, nil)
	}
	if err != nil {
		return fmt.Errorf("approving: %w", err)
	}
	ctx, cancel := context.WithTimeout(h.w.ctx, h.w.patience)
	defer cancel()
	for c.run == "" {
		var page struct{ Events []flow.TopicEvent }
		if err := h.w.api("/v1/events?topic=order-approved.v1&key="+c.nr, &page); err == nil && len(page.Events) > 0 && len(page.Events[0].Started) > 0 {
			c.run = page.Events[0].Started[0].Run
		}
		if c.run == "" && !wait(ctx, 100*time.Millisecond) {
			return errors.New("no run was started by it")
		}
	}
	if c.cancel != never && wait(ctx, c.cancel) {
		for {
			status, _, err := h.w.ask(ctx, &press{}, http.MethodPost, "/v1/runs/"+c.run+"/cancel", "")
			if err == nil && status < http.StatusBadRequest {
				break
			}
			if !wait(ctx, 200*time.Millisecond) {
				return errors.New("its cancel was not taken")
			}
		}
	}
	var run flow.Run
	for !run.Status.Final() {
		if err := h.w.api("/v1/runs/"+c.run, &run); err != nil {
			run = flow.Run{}
		}
		if !run.Status.Final() && !wait(ctx, 200*time.Millisecond) {
			return fmt.Errorf("run %s has not ended: %s", c.run, run.Status)
		}
	}
	return nil
}

func (h *harbour) control(method, path, body string) error {
	req, err := http.NewRequestWithContext(h.w.ctx, method, h.w.sandbox+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("the sandbox answered %s to %s", resp.Status, path)
	}
	return nil
}

// judged requires that of each order everything stands once, or everything is undone once.
func (h *harbour) judged() {
	t := h.w.t
	t.Helper()
	h.w.under.Wait()
	counts := map[string]int{}
	for _, c := range h.list {
		counts[h.judge(c, func(format string, args ...any) {
			t.Errorf("%s (%s, run %s): %s", c.nr, c.step, c.run, fmt.Sprintf(format, args...))
		})]++
	}
	t.Logf("%d orders: %v", len(h.list), counts)
}

func (h *harbour) judge(c *cargo, wrong func(string, ...any)) string {
	if c.err != nil {
		wrong("%v", c.err)
		return "lost"
	}
	var run flow.Run
	if err := h.w.asked("/v1/runs/"+c.run, &run); err != nil {
		wrong("%v", err)
		return "lost"
	}
	var orders []struct{ Rejection string }
	var reserved []struct{ Quantity string }
	var bookings []struct{ Status string }
	h.w.sandboxed("/_sandbox/sap/orders?reference="+c.nr, &orders)
	h.w.sandboxed("/_sandbox/oracle/reservations?reference="+c.nr+"/1", &reserved)
	h.w.sandboxed("/_sandbox/maersk/bookings?own="+c.nr, &bookings)
	var status int64
	var progress []string
	if err := h.w.judge.QueryRow(h.w.ctx, `select statuscode, array(select msx_progress from dataverse.msx_shipment where msx_shipmentnumber = $1) from dataverse.salesorder where ordernumber = $1`, c.nr).Scan(&status, &progress); err != nil {
		wrong("%v", err)
		return "lost"
	}
	if len(orders) > 1 || len(reserved) > 1 || len(bookings) > 1 || len(progress) > 1 {
		wrong("%d orders, %d reservations, %d bookings, %d shipments", len(orders), len(reserved), len(bookings), len(progress))
	}
	stands := []string{}
	for _, task := range run.Tasks {
		// Of what was on its way when its worker died nobody may know; a person is told.
		doubt := task.Problem != nil && task.Problem.Code == "write.in_doubt"
		if task.State == flow.TaskStands && !doubt {
			stands = append(stands, task.Name)
		}
	}
	if len(stands) > 0 {
		wrong("%v could not be taken back", stands)
	}
	if run.Status == flow.Completed {
		ok := len(orders) == 1 && orders[0].Rejection == "A" && len(reserved) == 1 && len(bookings) == 1 && slices.Contains([]string{"CONFIRMED", "COMPLETED"}, bookings[0].Status)
		if !ok || status != 717750003 || len(progress) != 1 || progress[0] != "arrived" || c.refused {
			wrong("it completed with %+v, %+v, %+v, order %d, shipment %v", orders, reserved, bookings, status, progress)
		}
		return "shipped"
	}
	ok := len(reserved) == 0
	for _, o := range orders {
		ok = ok && o.Rejection == "C"
	}
	for _, b := range bookings {
		ok = ok && slices.Contains([]string{"CANCELLED", "REJECTED"}, b.Status)
	}
	for _, p := range progress {
		ok = ok && p == "cancelled"
	}
	untouched := status == 717750001 && len(orders) == 0
	if !ok || status != 717750009 && !untouched {
		wrong("it is %s with %+v, %+v, %+v, order %d, shipment %v; %+v", run.Status, orders, reserved, bookings, status, progress, run.Problem)
	}
	if run.Status == flow.Failed && !c.refused {
		wrong("it failed: %+v", run.Problem)
	}
	return map[bool]string{true: "refused and undone", false: "cancelled and undone"}[run.Status == flow.Failed]
}

// bought is an order that is approved.
func bought(w *walk, step string) { w.harbour.ship(step, rand.New(rand.NewPCG(rand.Uint64(), 0))) }

// posted is an event that a partner tells of by itself, about an order that nobody knows.
func posted(w *walk, step string) {
	id := w.mark("told")
	w.under.Go(func() {
		body := fmt.Sprintf(`{"id":%q,"data":{"ordernumber":%q,"what":"departed","port":"DKAAR","at":"2026-03-01T08:00:00Z"}}`, id, id)
		for {
			status, _, err := w.ask(w.ctx, &press{}, http.MethodPost, "/v1/events/shipment-moved.v1", body)
			if err == nil && status < http.StatusMultipleChoices || !wait(w.ctx, 100*time.Millisecond) {
				return
			}
			if err == nil && status >= http.StatusBadRequest && status < http.StatusInternalServerError {
				w.t.Errorf("%s: an event was refused: %d", step, status)
				return
			}
		}
	})
}

// The walk for services, in a world of its own: worker and serve die, or are deceived, at each
// durable action by which an approved order is sold, reserved, booked and followed, while
// others are refused or cancelled. Of each order everything stands once, or everything is
// undone once: the sandbox's records say so.
func TestNoPointOfACrashShipsAnOrderTwiceOrHalf(t *testing.T) {
	t.Parallel()
	w := open(t, size{workers: 1, ships: true})
	began := time.Now()
	trail := &trail{hit: map[string]int{}}
	var walks sync.WaitGroup
	for kind, g := range map[kind]*guard{serving: w.serve, working: w.workers[0]} {
		walk := &walk{world: w, g: g, kind: kind}
		walks.Go(func() { walk.along(shipped, trail) })
	}
	walks.Wait()
	t.Logf("%s within %s", trail, time.Since(began).Round(time.Second))
	if t.Failed() {
		return
	}
	w.complete()
	w.harbour.judged()
	t.Logf("all within %s", time.Since(began).Round(time.Second))
	w.still()
}

// What serves orders is ended at random while they are shipped, refused and cancelled.
func TestRandomKillsShipAnOrderOnceOrTakeItBackOnce(t *testing.T) {
	t.Parallel()
	list := schedule(*seed, *shipkills, *gap)
	t.Logf("seed %d:%s", *seed, written(list))
	w := open(t, size{workers: 2, apart: true, ships: true})
	for _, system := range []string{"sap", "oracle", "maersk"} { // answers are lost now and then
		w.misbehave(system, `[{"method":"POST","drop_after_commit":true,"rate":0.03},{"method":"POST","status":503,"rate":0.03}]`)
	}
	w.misbehave("dataverse", `[{"path":"msx_shipments","drop_after_commit":true,"rate":0.05},{"path":"msx_shipments","status":503,"rate":0.05}]`)
	enough := make(chan struct{})
	var load sync.WaitGroup
	load.Go(func() {
		r := rand.New(rand.NewPCG(*seed, 5))
		for {
			select {
			case <-enough:
				return
			case <-w.ctx.Done():
				return
			case <-time.After(time.Duration(500+r.IntN(4000)) * time.Millisecond):
				w.harbour.ship("under load", r)
			}
		}
	})
	began := time.Now()
	for _, s := range list {
		if !wait(t.Context(), time.Until(began.Add(s.at))) {
			return
		}
		w.strike(s)
	}
	close(enough)
	load.Wait()
	t.Logf("%d blows within %s", len(list), time.Since(began).Round(time.Second))
	for _, system := range []string{"sap", "oracle", "maersk", "dataverse"} {
		w.behave(system)
	}
	w.harbour.judged()
	t.Logf("all within %s", time.Since(began).Round(time.Second))
	w.still()
}
