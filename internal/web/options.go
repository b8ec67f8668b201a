package web

import (
	"context"
	"net/http"
	"time"

	"patchbay/internal/flow"
)

type (
	// Runs reads runs. An unknown ID is a NotFound fault; List answers newest
	// first, without results and effects, with the cursor of the next page or "".
	Runs interface {
		Get(ctx context.Context, id string) (flow.Run, error)
		List(ctx context.Context, filter flow.RunFilter) (runs []flow.Run, next string, err error)
	}

	// Flows knows the applied flows. An unknown name is a NotFound fault.
	Flows interface {
		Flows(ctx context.Context) ([]flow.Applied, error)
		Flow(ctx context.Context, name string) (flow.Applied, error)
	}

	// Explainer tells what happened to a business key or a run, oldest first.
	Explainer interface {
		Explain(ctx context.Context, key string) ([]flow.Entry, error)
	}

	// Samples offers parameters that work, for example the sandbox's. No sample
	// for a flow is a nil map and no error.
	Samples interface {
		Sample(ctx context.Context, flow string) (map[string]any, error)
	}

	// Queue knows what waits: Waits gathers the open runs of one principal, or of
	// all for "", by what they wait for; Ahead counts the runs that will be taken
	// before each of those given, as far as these wait for their turn.
	Queue interface {
		Waits(ctx context.Context, principal string) ([]flow.Wait, error)
		Ahead(ctx context.Context, runIDs []string) (map[string]int, error)
	}

	// Certificates give what a final run had done, as its cancel was answered.
	Certificates interface {
		Certificate(ctx context.Context, runID string) (flow.Certificate, error)
	}

	// Dead knows the dead letters. A run that never was one is a NotFound fault.
	Dead interface {
		Letters(ctx context.Context, filter flow.LetterFilter) (letters []flow.Letter, next string, err error)
		Letter(ctx context.Context, runID string) (flow.Letter, error)
		DeadLetters(ctx context.Context) (int, error) // how many there are, up to a thousand
	}

	// Overview tells how much flows, and what has changed.
	Overview interface {
		Rates(ctx context.Context, minutes int) ([]flow.Rate, error)
		Changes(ctx context.Context, limit int) ([]flow.Change, error)
	}

	// Events knows the event flows: how each stands, and the events that were rejected
	// or are dead.
	Events interface {
		Pulse(ctx context.Context, plan *flow.Plan) (flow.Pulse, error)
		Troubles(ctx context.Context, choose flow.TroubleFilter) ([]flow.Trouble, error)
	}

	// Repairs knows what services wrote and nothing took back.
	Repairs interface {
		Repairs(ctx context.Context, f flow.RepairFilter) ([]flow.Repair, error)
	}

	// Topics knows business events.
	Topics interface {
		List(ctx context.Context, f flow.TopicFilter) ([]flow.TopicEvent, error)
	}

	// Stops knows what is not to be started now, and what waits for that.
	Stops interface {
		Stopped(ctx context.Context) ([]flow.Stopped, error)
	}

	// Alerts knows what is wrong now.
	Alerts interface {
		Open(ctx context.Context) ([]flow.Alert, error)
	}

	// Pictures knows what consolidations have of their sources.
	Pictures interface {
		Sources(ctx context.Context, flow string) ([]flow.SourceStanding, error)
		Drifts(ctx context.Context, flow string) ([]flow.ColumnDrift, error)
		Rejects(ctx context.Context, f flow.RejectFilter) ([]flow.Reject, error)
	}

	// Plans knows the action plans that models and rules proposed.
	Plans interface {
		List(ctx context.Context, f flow.PlanFilter) ([]flow.ActionPlan, error)
	}

	// Referrals knows what rules left to people. A run that nobody has to decide about is a
	// NotFound fault.
	Referrals interface {
		Referral(ctx context.Context, runID string) (flow.Referral, error)
		Referrals(ctx context.Context, f flow.ReferralFilter) ([]flow.Referral, error)
	}

	// Schedules knows when flows start by themselves, and what became of each time.
	Schedules interface {
		Rhythms(ctx context.Context) ([]flow.Rhythm, error)
		Newest(ctx context.Context, flow string, limit int) ([]flow.Slot, error)
	}

	// Synchronizations knows what regions share, as ours sees it. A flow that is none is
	// a NotFound fault; conflicts come newest first.
	Synchronizations interface {
		Synchronizations(ctx context.Context) ([]flow.SyncStanding, error)
		Synchronization(ctx context.Context, name string) (flow.SyncStanding, error)
		Conflicts(ctx context.Context, f flow.SyncFilter) ([]flow.SyncConflict, error)
		Residency(ctx context.Context, name string) ([]flow.ResidencyReport, error)
	}

	// Landscape knows how flows, tables and connections hang together, and what a change
	// of an item touches. An item that is not known is an Invalid fault.
	Landscape interface {
		Map(ctx context.Context) (flow.Map, error)
		Impact(ctx context.Context, item string) (flow.Impact, error)
	}

	// Options assemble a console.
	Options struct {
		Runs      Runs
		Flows     Flows
		Explainer Explainer
		Samples   Samples // nil offers none

		Queue        Queue            // nil: nothing is told of the queue
		Certificates Certificates     // nil: a cancelled run is told from its effects alone
		Dead         Dead             // nil: there is no page of dead letters
		Overview     Overview         // nil: nothing is told of either
		Events       Events           // nil: no flow reacts to events
		Alerts       Alerts           // nil: there are none
		Repairs      Repairs          // nil: no flow is a service
		Topics       Topics           // nil: as Repairs
		Stops        Stops            // nil: nothing is ever stopped
		Pictures     Pictures         // nil: no flow is a consolidation
		Plans        Plans            // nil: as Pictures
		Referrals    Referrals        // nil: no flow leaves a decision to a person
		Schedules    Schedules        // nil: no flow has a schedule
		Syncs        Synchronizations // nil: no flow is a synchronization

		Landscape Landscape // nil: there is no map

		// Principal is who looks, as the gate in front has found out.
		Principal func(*http.Request) flow.Principal

		UIBase      string // of the Temporal Web UI, "http://127.0.0.1:8233"; empty shows no links
		Namespace   string // of the workflows there; empty: "default"
		Environment string // shown in the top bar: "dev", "test", "production"
		Regions     []Region
		Version     string
		Now         func() time.Time // nil: time.Now
	}

	// Region is the console of a region that runs beside.
	Region struct {
		Name    string
		Address string // http://HOST:PORT
	}
)
