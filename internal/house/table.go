package house

import "slices"

// Rule is one row of the import table.
type Rule struct {
	// Room is the path of a package inside the module, or of a tree of packages ("internal/sandbox/...").
	Room string
	// Rooms are the packages of this module it may import; "/..." includes a tree. The leaves are always allowed.
	Rooms []string
	// Libraries are import path prefixes of other modules it may import.
	Libraries []string
	// Never are import path prefixes it must not reach, directly or below, in its tests as little as in its code.
	Never []string
	// TestsMay are exceptions from Never, and libraries that only the tests of this room need.
	TestsMay []string
	// Pure forbids the parts of the standard library that do I/O or are not repeatable.
	Pure bool
	// Ahead marks a room of the design that no code lives in yet.
	Ahead bool
	// Why is the reason a reader gets with the violation.
	Why string
}

// The libraries, by the name the table uses for them.
const (
	sdk       = "go.temporal.io/sdk"
	api       = "go.temporal.io/api"
	pgx       = "github.com/jackc/pgx/v5"
	zap       = "go.uber.org/zap"
	cel       = "cel.dev/cel-go"
	otel      = "go.opentelemetry.io/otel"
	promet    = "github.com/prometheus"
	xsync     = "golang.org/x/sync"
	testify   = "github.com/stretchr/testify/require"
	ourStore  = Module + "/internal/store"
	ourConn   = Module + "/internal/connector"
	ourBox    = Module + "/internal/sandbox"
	durableIO = Module + "/internal/durable"
)

// leaves may be imported by every room: pure, small, and about nothing but the form of data.
var leaves = []string{"internal/strictjson", "internal/failpoint"}

// testLibraries may be imported by every test. Of testify only require: one way to say what must hold.
var testLibraries = []string{
	testify,
	"pgregory.net/rapid",
	"go.uber.org/goleak",
	zap, // loggers for the code under test
	sdk, // tests against a real server speak to it directly
	api,
	"google.golang.org/protobuf", // what api is made of: recorded histories
	pgx,
}

var (
	vocabulary = []string{"internal/flow", "internal/fault"}
	wire       = []string{"internal/contract", "internal/flow", "internal/fault"}
)

// Table is the import table of the design. What a row does not name is not allowed.
var Table = []Rule{
	{Room: ".", Rooms: []string{"internal/cli"}, Why: "main is os.Exit(cli.Main()) and nothing else"},
	{Room: "flows", Why: "the example flows are files; Go only embeds them", Pure: true},

	{Room: "calculator", Rooms: []string{"internal/fault"}, Never: []string{pgx, sdk}, Pure: true, Why: "what users write calculators with: no more than they need"},
	{Room: "fleet", Rooms: slices.Concat(wire, rooms("durable", "httpapi", "telemetry"), []string{"calculator", "workflows"}), Libraries: []string{sdk, zap, xsync},
		Never: []string{pgx, ourStore, ourConn, Module + "/internal/config"}, Why: "what computes holds no credentials: it has nothing that could use them"},
	{Room: "examples/calculator", Rooms: []string{"calculator", "fleet", "examples/calculator/rent"}, Why: "what a user writes"},
	{Room: "examples/calculator/rent", Rooms: []string{"calculator"}, Pure: true, Why: "what a user writes"},
	{Room: "internal/capsule", Rooms: []string{"calculator", "internal/fault"}, Never: []string{pgx, sdk}, Pure: true,
		Why: "the record of a decision, sealed and run again offline"},
	{Room: "internal/fault", Pure: true, Why: "the vocabulary of failure is below everything"},
	{Room: "internal/flow", Rooms: []string{"internal/fault"}, Pure: true, Why: "the plan is a pure model: no I/O, no clock"},
	{Room: "internal/risk", Rooms: append(rooms("risk/figures", "risk/portable"), vocabulary...), Never: []string{pgx, sdk}, Pure: true,
		Why: "what a loan costs in losses and capital"},
	{Room: "internal/risk/...", Rooms: append(rooms("risk/figures", "risk/portable"), vocabulary...), Never: []string{pgx, sdk}, Pure: true,
		Why: "numerics only, so that the fleet that computes them scales on its own"},
	{Room: "internal/risk/calculators", Rooms: append(rooms("risk", "risk/scorecard", "risk/stress"), "calculator"), Never: []string{pgx, sdk}, Pure: true,
		Why: "the registered forms of what is computed"},
	{Room: "internal/risk/train", Rooms: rooms("fault", "risk/fit", "risk/portable", "risk/scorecard"), Why: "a program: rows in, a scorecard out"},
	{Room: "internal/risk/figures", Rooms: []string{"internal/fault"}, Pure: true, Why: "what is wrong with a figure, in one way for all calculators"},
	{Room: "internal/risk/portable", Pure: true, Why: "arithmetic whose bits are the same everywhere"},
	{Room: "internal/calendar", Rooms: vocabulary, Never: []string{pgx}, Pure: true, Why: "the times of a schedule are the same wherever they are asked for; its tests ask a real server"},
	{Room: "internal/forecast", Rooms: slices.Concat(vocabulary, rooms("calendar")), Pure: true, Why: "what history says of tomorrow; whoever asks brings the history"},
	{Room: "internal/message", Rooms: vocabulary, Pure: true, Why: "a message is made of recorded data alone, so that a repetition is known as one"},
	{Room: "internal/failpoint", Why: "the places where a test ends a process; compiled away in what is released"},
	{Room: "internal/strictjson", Rooms: []string{"internal/fault"}, Pure: true, Why: "a decoder, usable anywhere"},

	{Room: "internal/contract", Rooms: vocabulary, Libraries: []string{sdk, api}, Never: []string{pgx}, Pure: true,
		Why: "the wire holds names and shapes; both of its ends import it"},
	{Room: "workflows", Rooms: wire,
		Libraries: []string{sdk + "/workflow", sdk + "/temporal", sdk + "/worker", sdk + "/converter", api},
		Never:     []string{pgx, ourStore, ourConn, durableIO, cel}, TestsMay: []string{durableIO, ourStore}, Pure: true,
		Why: "a workflow reads only recorded data (promise 7); nothing that does I/O, directly or below"},
	{Room: "activities", Rooms: slices.Concat(wire, rooms("run", "ledger", "topic", "paid", "stage", "slot", "review", "decision", "replica", "strictjson"), []string{"calculator"}), Libraries: []string{sdk + "/activity", sdk + "/temporal", sdk + "/worker", xsync}, Never: []string{ourBox, ourConn},
		Why: "what an activity needs are interfaces of its own, filled by app; run, ledger, topic, paid, stage, slot, review and replica lend their types only"},
	{Room: "workers", Rooms: slices.Concat(wire, []string{"workflows", "activities", "fleet", "internal/durable"}),
		Libraries: []string{sdk, api, zap}, Why: "task queues, registrations and tuning; no work of its own"},
	{Room: "starters",
		Rooms:     slices.Concat(wire, rooms("run", "ledger", "inbox", "topic", "decision", "quota", "journal", "durable", "calendar", "slot", "forecast")),
		Libraries: []string{sdk + "/client", sdk + "/temporal", api, zap, xsync},
		Why:       "the only code that starts, signals, cancels and schedules"},

	{Room: "internal/expr", Rooms: vocabulary, Libraries: []string{cel, "github.com/cockroachdb/apd/v3", "google.golang.org/protobuf"}, Never: []string{sdk, pgx},
		Why: "the CEL environment; decimals stay exact"},
	{Room: "internal/advice", Rooms: slices.Concat(vocabulary, rooms("expr")), Libraries: []string{"github.com/santhosh-tekuri/jsonschema/v6"},
		Never: []string{sdk, pgx, ourConn, ourBox}, Pure: true, Why: "what a model says is proved where nothing but the rows is known"},
	{Room: "internal/join", Rooms: slices.Concat(vocabulary, rooms("expr")), Never: []string{sdk, pgx},
		Why: "target rows of the rows of several sources; what keeps them is another's"},
	{Room: "internal/ruling", Rooms: slices.Concat(vocabulary, rooms("expr", "capsule")), Never: []string{sdk, pgx, ourConn, ourBox}, Pure: true,
		Why: "what rules say of recorded figures, the same years later"},
	{Room: "internal/flowfile", Rooms: slices.Concat(vocabulary, rooms("expr", "join", "advice", "message", "calendar"), []string{"calculator"}), Libraries: []string{"go.yaml.in/yaml/v3", cel}, Never: []string{sdk, pgx},
		TestsMay: []string{"github.com/santhosh-tekuri/jsonschema/v6"}, Why: "YAML to plan; YAML is read here alone"},
	{Room: "internal/check", Rooms: slices.Concat(vocabulary, rooms("calendar", "expr", "flowfile", "message", "risk/calculators"), []string{"calculator"}), Libraries: []string{cel}, Never: []string{sdk, pgx},
		Why: "proofs over all flows need no server"},

	{Room: "internal/store", Rooms: []string{"internal/fault"}, Libraries: []string{pgx, "github.com/pressly/goose/v3", zap, xsync}, Never: []string{sdk},
		Why: "PostgreSQL, and only PostgreSQL"},
	{Room: "internal/store/storetest", Rooms: rooms("store", "fault"), Libraries: []string{pgx, testify}, Never: []string{sdk},
		Why: "a database per test, for every room that has tables"},
	{Room: "internal/store/group", Rooms: []string{"internal/fault"}, Why: "group commit, whatever is committed"},
	owner("internal/run", "the run rows and their one transaction with effects and reasons", "ledger", "journal", "topic", "claimcheck", "store/group"),
	owner("internal/ledger", "no effect twice (promise 2): the ledger depends on nothing that could change under it"),
	owner("internal/claimcheck", "the bytes of documents, once, until nobody needs them (promise 8)"),
	owner("internal/topic", "business events, each taken once; committed before the 202 (promise 1)", "claimcheck"),
	owner("internal/journal", "one final reason for everything (promise 4)"),
	owner("internal/inbox", "events, dedupe and change windows, committed before the 202 (promise 1)", "store/group", "journal"),
	owner("internal/quota", "what of the stated limits of providers is used, by all processes together", "store/group"),
	owner("internal/paid", "what was paid is asked once (promise 2), and what was computed may be used again"),
	owner("internal/shadow", "what calculators in the shadow of others made of the same figures: it has no effect"),
	owner("internal/stop", "what is not to be used now, because a person holds it or its system answers nobody"),
	owner("internal/alert", "what is wrong and who is told; it looks at nothing itself, and what it sends by is given to it"),
	owner("internal/slot", "every time of a schedule has one outcome (promise 4), and a flow one open run", "calendar"),
	owner("internal/review", "what models proposed and people decided; a plan is kept before it is written (promise 2)"),
	{Room: "internal/mirror", Rooms: slices.Concat(vocabulary, rooms("connector", "replica", "egress", "strictjson")), Never: []string{sdk, ourBox},
		Why: "carries changes between a region's system and the borders; it remembers nothing and knows nothing of Temporal"},
	owner("internal/decision", "a decision is made once, and sealed in the same transaction", "capsule"),
	owner("internal/stage", "what consolidations read, made of it, and what their targets took", "join"),
	owner("internal/replica", "what regions know of the records they share, and what is still to be written"),
	owner("internal/egress", "the border of a region: what the others may fetch, and nothing else (promise 5)"),

	{Room: "internal/connector", Rooms: []string{"internal/fault"},
		Libraries: []string{"golang.org/x/oauth2", "golang.org/x/time", xsync},
		Never:     []string{sdk, ourStore, ourBox}, Why: "a connector knows nothing of flows, stores, Temporal or the sandbox"},
	{Room: "internal/connector/conformance", Rooms: rooms("connector", "fault"), Libraries: []string{testify},
		Never: []string{sdk, ourStore, ourBox}, Why: "the suite that every connector passes"},
	{Room: "internal/connector/postgres", Rooms: rooms("connector", "fault"), Libraries: []string{pgx, "github.com/jackc/pglogrepl"},
		Never: []string{sdk, ourStore, ourBox}, TestsMay: []string{ourStore}, Why: "PostgreSQL as somebody else's system; its tests need a real one"},
	{Room: "internal/connector/hook", Rooms: rooms("connector", "fault"),
		Never: []string{sdk, ourStore, ourBox}, Why: "how deliveries are proved and read, once for every receiver"},
	{Room: "internal/connector/smtp", Rooms: rooms("connector", "fault"), Libraries: []string{"github.com/wneessen/go-mail"},
		Never: []string{sdk, ourStore, ourBox}, Why: "mail; go-mail writes MIME and the lines of the protocol, and nobody else needs it"},
	{Room: "internal/connector/imap", Rooms: rooms("connector", "fault"), Libraries: []string{"github.com/emersion/go-imap/v2", "golang.org/x/text"},
		Never: []string{sdk, ourStore, ourBox}, Why: "incoming mail; go-imap speaks the protocol, x/text the charsets of mail, and nobody else needs them"},
	{Room: "internal/connector/sheet", Rooms: rooms("connector", "fault"), Pure: true,
		Never: []string{sdk, ourStore, ourBox}, Why: "lists of rows as cells, whoever sent them"},
	{Room: "internal/connector/batch", Rooms: []string{"internal/strictjson"},
		Never: []string{sdk, ourStore, ourBox}, Why: "the bodies of an OData $batch, whoever sends them"},
	{Room: "internal/connector/...", Rooms: rooms("connector", "connector/batch", "connector/hook", "connector/sheet", "fault"),
		Never: []string{sdk, ourStore, ourBox}, Why: "one vendor's wire protocol; another system is another URL"},

	{Room: "internal/sandbox", Rooms: []string{"internal/sandbox/..."}, Libraries: []string{pgx, zap, xsync}, Never: []string{sdk, ourConn},
		Why: "the outside judge: it shares nothing with the connectors it judges"},
	{Room: "internal/sandbox/ibm", Rooms: []string{"internal/sandbox/..."}, Libraries: []string{"github.com/graph-gophers/graphql-go"}, Never: []string{sdk, ourConn},
		Why: "the stand-in really executes GraphQL, by the schema as the vendor writes it; the connector needs none of it"},
	{Room: "internal/sandbox/...", Rooms: []string{"internal/sandbox/..."}, Libraries: []string{pgx, zap, xsync}, Never: []string{sdk, ourConn},
		Why: "the outside judge: it shares nothing with the connectors it judges"},
	{Room: "internal/wiretest/dovecot", Libraries: []string{testify}, Why: "a real mail server for the tests of incoming mail, of the connector and of whole flows"},
	{Room: "internal/wiretest", Why: "reads recorded exchanges for the tests of connectors and sandbox alike"},

	{Room: "internal/durable", Rooms: slices.Concat(wire), Libraries: []string{sdk, api, zap, otel, promet, "google.golang.org/grpc", "google.golang.org/protobuf"}, Never: []string{pgx},
		Why: "wraps the SDK, and is all that knows how"},
	{Room: "internal/devenv", Rooms: []string{"internal/fault"}, Libraries: []string{pgx, sdk, api, xsync, zap}, Why: "children of one machine"},
	{Room: "internal/devenv/testenv/...", Rooms: rooms("devenv", "devenv/testenv", "fault"), Libraries: []string{pgx, sdk, api},
		Why: "one PostgreSQL and one Temporal for all tests"},
	{Room: "internal/devenv/testenv", Rooms: rooms("devenv", "fault"), Libraries: []string{pgx, sdk, api, testify},
		Why: "one PostgreSQL and one Temporal for all tests"},
	{Room: "internal/telemetry", Rooms: []string{"internal/fault"}, Libraries: []string{otel, promet, zap, sdk}, Why: "wraps OpenTelemetry, and counts for the SDK"},
	{Room: "internal/config", Rooms: vocabulary, Why: "settings, keys and references to secrets"},

	{Room: "internal/httpapi", Rooms: vocabulary, Libraries: []string{"github.com/danielgtaylor/huma/v2", zap}, Never: []string{sdk, pgx},
		TestsMay: []string{"github.com/getkin/kin-openapi"}, Why: "a face of the program: its needs are interfaces of its own"},
	{Room: "internal/web", Rooms: vocabulary, Libraries: []string{zap}, Never: []string{sdk, pgx},
		TestsMay: []string{"github.com/chromedp"}, Why: "a face of the program: its needs are interfaces of its own"},
	{Room: "internal/web/browser", Libraries: []string{"github.com/chromedp", testify}, Why: "a real browser, for tests"},

	{Room: "internal/app",
		Rooms: slices.Concat(wire, []string{"flows", "workers", "workflows", "activities", "starters", "fleet", "calculator", "internal/connector/..."},
			rooms("advice", "alert", "calendar", "claimcheck", "expr", "flowfile", "join", "message", "check", "store", "run", "ledger", "journal", "inbox", "topic", "quota", "paid", "shadow", "stage", "stop", "sandbox", "durable", "devenv",
				"telemetry", "config", "httpapi", "web", "risk/calculators", "slot", "forecast", "review", "ruling", "decision", "capsule", "egress", "replica", "mirror")),
		Libraries: []string{sdk, api, pgx, zap, xsync, otel, promet}, Why: "the composition root"},
	{Room: "internal/cli", Rooms: slices.Concat(vocabulary, rooms("app", "check", "flowfile", "config"), []string{"fleet"}),
		Libraries: []string{"github.com/urfave/cli/v3", zap},
		Why:       "arguments in, lines out; app does the work"},

	{Room: "internal/bench", Rooms: append(rooms("devenv", "durable", "risk/stress"), "flows"),
		Libraries: []string{sdk, api, pgx, xsync, "google.golang.org/grpc"},
		Why:       "drives the built binary beside a bare workflow, so it knows nothing of what is inside"},
	{Room: "internal/bench/profiled", Rooms: []string{"internal/cli"}, Why: "the program itself, with a switch for profiles"},
	{Room: "internal/e2e", TestsMay: []string{"github.com/compose-spec/compose-go/v2", xsync},
		Why: "tests the built binary from outside; what it needs, only its tests import"},
	{Room: "internal/e2e/toxic", Libraries: []string{"github.com/Shopify/toxiproxy/v2", "github.com/rs/zerolog", testify},
		Why: "networks that fail, for tests"},
	{Room: "internal/residency", Libraries: []string{pgx, sdk + "/client", api, "github.com/klauspost/compress", "google.golang.org/protobuf"},
		Why: "looks for planted values in what others keep, and stands on none of them; for tests"},
	{Room: "internal/crash", Why: "ends the processes of the built binary and judges from outside; what it needs, only its tests import"},
	{Room: "internal/mutants", Why: "tests the tests: plants bugs in their sources and stands on none of them"},
	{Room: "internal/deploy", TestsMay: []string{"github.com/compose-spec/compose-go/v2"},
		Why: "judges the files of deploy/ as Docker would read them; what it needs, only its tests import"},
	{Room: "internal/house", Why: "judges the others and stands on none of them"},
	{Room: "internal/house/...", Why: "judges the others and stands on none of them"},
}

// owner is the row of a room that owns tables.
func owner(room, why string, besides ...string) Rule {
	return Rule{
		Room: room, Rooms: slices.Concat(vocabulary, rooms("store"), rooms(besides...)),
		Libraries: []string{pgx}, Never: []string{sdk, ourConn, ourBox}, Why: why,
	}
}

func rooms(names ...string) []string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = "internal/" + name
	}
	return out
}
