package app

import (
	"context"
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"patchbay/internal/egress"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/run"
	"patchbay/internal/store/storetest"
)

func TestTheDoctorLooksAtBothSidesOfABorder(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	de, fr := storetest.NewDatabase(t), storetest.NewDatabase(t)
	s := storetest.Open(t, de.App)
	plan := &flow.Plan{Flow: "account-sync", Pattern: flow.Synchronization, Sync: &flow.Sync{
		Regions: []flow.Region{{Name: "de", Connection: "crm-de"}, {Name: "fr", Connection: "crm-fr", Egress: "the border of fr"}},
		Tables:  []flow.SyncTable{{Name: "account", Key: []string{"number"}, Columns: []flow.SyncColumn{{Name: "name", Type: flow.String}}}},
	}}
	roles := map[string]egress.PeerRole{ // by the region that reads
		"fr": {Region: "fr", Role: egress.RoleOf(t.Name(), de.Owner, "fr"), Password: "of fr"},
		"de": {Region: "de", Role: egress.RoleOf(t.Name(), fr.Owner, "de"), Password: "of de"},
	}
	as := func(owner, sql string) {
		t.Helper()
		conn, err := pgx.Connect(context.Background(), owner)
		require.NoError(t, err)
		defer func() { _ = conn.Close(context.Background()) }()
		_, err = conn.Exec(context.Background(), sql)
		require.NoError(t, err)
	}
	t.Cleanup(func() {
		for owner, role := range map[string]string{de.Owner: roles["fr"].Role, fr.Owner: roles["de"].Role} {
			as(owner, `drop owned by `+role)
			as(owner, `drop role `+role)
		}
	})
	border, err := url.Parse(fr.Owner)
	require.NoError(t, err)
	border.User = url.UserPassword(roles["de"].Role, roles["de"].Password)
	resolve := func(ref string) (string, error) {
		if ref != "the border of fr" {
			return "", fault.NotFoundf("config.unset", "it is not set")
		}
		return border.String(), nil
	}
	plans := run.NewPlans(s)
	m := &mirrors{border: egress.New(s), resolve: resolve, region: "de"}
	t.Cleanup(m.close)
	a := &api{core: &core{Settings: Settings{Region: "de", Resolve: resolve}, plans: plans, egress: m.border, mirrors: m}}
	verdicts := func() (border, region string) {
		t.Helper()
		found := a.examineBorders(ctx)
		require.Len(t, found, 2)
		require.Equal(t, []string{"border", "region fr"}, []string{found[0].Name, found[1].Name})
		return found[0].Status + ": " + found[0].Detail, found[1].Status + ": " + found[1].Detail
	}

	require.Empty(t, a.examineBorders(ctx), "where nothing is shared there is nothing to say")
	_, err = plans.Apply(ctx, []*flow.Plan{plan}, nil, "test")
	require.NoError(t, err)
	require.NoError(t, egress.Prepare(ctx, fr.Owner, "fr", plan, []egress.PeerRole{roles["de"]}))
	ours, theirs := verdicts()
	require.Regexp(t, `^fail: table account of account-sync is not prepared for region fr`, ours)
	require.Regexp(t, `^ok: 1 tables may be read there`, theirs)

	require.NoError(t, egress.Prepare(ctx, de.Owner, "de", plan, []egress.PeerRole{roles["fr"]}))
	ours, _ = verdicts()
	require.Regexp(t, `^warn: .*may connect to database postgres`, ours, "the tests' cluster lets everybody in there")
	as(de.Owner, `grant select on public.plan to `+roles["fr"].Role)
	ours, _ = verdicts()
	require.Regexp(t, `^fail: the role of region fr .* has rights on table plan; run .patchbay apply.`, ours)

	wider := *plan
	wider.Sync = &flow.Sync{Regions: plan.Sync.Regions, Tables: []flow.SyncTable{plan.Sync.Tables[0]}}
	wider.Sync.Tables[0].Columns = append(wider.Sync.Tables[0].Columns, flow.SyncColumn{Name: "telephone", Type: flow.String})
	require.NoError(t, egress.Prepare(ctx, fr.Owner, "fr", &wider, []egress.PeerRole{roles["de"]}))
	_, theirs = verdicts()
	require.Regexp(t, `^fail: account-sync: the other region lets a column of table account cross that our plan does not have`, theirs)
	as(fr.Owner, `alter role `+roles["de"].Role+` nologin`)
	m.close()
	_, theirs = verdicts()
	require.Regexp(t, `^fail: the other region does not let our egress role read`, theirs)
	require.NotContains(t, theirs, "of de")
}
