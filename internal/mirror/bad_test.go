package mirror_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
	"patchbay/internal/replica"
)

// Records come in one transaction that cannot be shared or that one target does not take as
// they are, each for a reason of its own: each is told with its name, whoever asks, and all
// others go on. When the reasons are mended they follow.
func TestEachBadInputHasItsNameAndTheOthersGoOn(t *testing.T) {
	t.Parallel()
	sync := sharing()
	sync.MaxRow = 1000
	w := newWorld(t, sync, "de", "fr")
	for _, sql := range []string{
		`alter table account alter phone type int using phone::int`,
		`alter table account alter name type varchar(20)`,
		`alter table account add constraint little check (credit < 100)`,
		`create function cut() returns trigger language plpgsql as $$ begin if new.name like 'Cut %' then new.name := left(new.name, 7); end if; return new; end $$`,
		`create trigger cut before insert or update on account for each row execute function cut()`,
		`alter table contact drop constraint contact_pkey`,
	} {
		w.run("fr", sql)
	}
	w.listening("fr")
	w.work("de", "fr")
	w.run("de", `insert into account values
		('type', 'Another type', 'a word', 1, 'x'), ('long', 'A name of more letters than fr has', null, 1, 'x'), ('refused', 'Refused', null, 500, 'x'),
		('cut', 'Cut off there', null, 1, 'x'), ('large', 'Large', repeat('1', 2000), 1, 'x'), ('G1', 'Good', null, 1, 'x'), ('G2', 'Good', null, 2, 'x')`)
	w.run("de", `insert into contact values ('C1', 'Somebody', null, 'x')`)
	for _, bad := range []struct {
		region, key string
		outcome     flow.SyncOutcome
		code        string
	}{
		{"fr", "type", flow.SyncRejected, "postgres.value"},
		{"fr", "long", flow.SyncRejected, "postgres.too_long"},
		{"fr", "refused", flow.SyncRejected, "postgres.check"},
		{"fr", "cut", flow.SyncTruncated, "connector.truncated"},
		{"de", "large", flow.SyncOversize, replica.CodeOversize},
		{"fr", "G1", flow.SyncApplied, ""},
	} {
		r := w.regions[bad.region]
		var is replica.Account
		w.eventually(bad.key+" is "+string(bad.outcome), func() bool {
			is, _ = r.replica.Account(t.Context(), r.side.Place, "account", []string{`"` + bad.key + `"`})
			return is.Outcome == bad.outcome
		})
		require.Equal(t, bad.code, is.Code, "%s: %s", bad.key, is.Text)
	}
	w.troubled("fr", "contact", "connector.replica_identity")
	require.NotContains(t, w.shared("fr"), "large")
	w.run("de", `update account set credit = 3 where accountnumber = 'G2'`)
	w.eventually("the others go on", func() bool {
		all := w.shared("fr")
		return strings.Contains(all, "account G1: Good, , 1\n") && strings.Contains(all, "account G2: Good, , 3\n")
	})

	for _, sql := range []string{`alter table account drop constraint little`, `drop trigger cut on account`, `alter table contact add primary key (number)`} {
		w.run("fr", sql)
	}
	w.run("de", `update account set phone = null where accountnumber in ('type', 'large')`)
	w.run("de", `update account set name = 'A short name' where accountnumber = 'long'`)
	fr := w.regions["fr"]
	for _, table := range []string{"account", "contact"} { // patchbay resume
		_, err := fr.replica.Retry(t.Context(), fr.side.Place, table, nil)
		require.NoError(t, err)
	}
	require.Equal(t, 8, strings.Count(w.sameAs("account type: Another type, , 1", "account large: Large, , 1", "account long: A short name, , 1", "account cut: Cut off there, , 1", "account refused: Refused, , 500", "contact C1: Somebody of "), "\n"))
}
