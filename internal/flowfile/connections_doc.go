package flowfile

import "regexp"

// readers are those of systems that no row is written to.
var readers = append([]string{"graph", "ibm", mailboxSystem, modelSystem}, tellers...)

// referring are those of systems that draw the keys of rows themselves: what is written
// there is looked up first, by the column that option reference names.
var referring = []string{"oracle"}

// tellers are systems that only tell of events: they are neither read nor written.
var tellers = []string{"cloudevents", "webhook"}

// unread are the systems that have no rows to read, and what they do instead.
var unread = map[string]string{"cloudevents": "tells of events", "webhook": "tells of events", mailSystem: "sends messages", modelSystem: "answers questions"}

// systems are the connectors of this version.
var systems = []string{"cloudevents", "dataverse", "graph", "ibm", mailboxSystem, "maersk", modelSystem, "oracle", "postgres", "rest", "sap", mailSystem, "webhook"}

// modelSystem is the connector of models, which are asked and neither read nor written.
const modelSystem = "model"

// mailboxSystem is the connector of incoming mail.
const mailboxSystem = "imap"

// followed are the connectors of systems that tell what changes over a connection which
// Patchbay opens: a database by its log, a mailbox by IDLE.
var followed = []string{mailboxSystem, "postgres"}

// forgetful are the connectors of systems that keep no key, so that a write that is
// sent twice takes effect twice, whatever the connection declares.
var forgetful = []string{"smtp"}

// schemes are the beginnings of a url where it is not https://.
var schemes = map[string][]string{mailboxSystem: {"imaps://", "imap://"}, "postgres": {"postgres://"}, "smtp": {"smtp://", "smtps://"}}

var connectionNames = keyRule{slugs.pattern, slugs.what}

var tableNames = keyRule{regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]{0,62}$`), "letters, digits, underscores and hyphens"}

type (
	// connectionsDoc declares connections.yaml.
	connectionsDoc struct {
		at
		connections dict[connectionDoc, *connectionDoc]
		regions     dict[peerDoc, *peerDoc]
		alerts      alertsDoc
	}

	peerDoc struct {
		at
		egress secret
	}

	connectionDoc struct {
		at
		system  word
		region  text
		url     address
		auth    authDoc
		limits  connectionLimitsDoc
		quotas  list[quotaDoc, *quotaDoc]
		budget  budgetDoc
		hook    hookDoc
		settle  span
		options dict[setting, *setting]
		tables  dict[tableDoc, *tableDoc]
	}

	authDoc struct {
		at
		kind         word
		tokenURL     address
		clientID     setting
		clientSecret secret
		scope        setting
		username     setting
		password     secret
		expires      day
	}

	connectionLimitsDoc struct {
		at
		perSecond  number
		burst      whole
		concurrent whole
		timeout    span
		maxBytes   whole
	}

	tableDoc struct {
		at
		path       text
		price      text
		where      dict[text, *text]
		keys       list[keyDoc, *keyDoc]
		columns    dict[word, *word]
		refers     dict[text, *text]
		restricted list[column, *column]
		prose      list[column, *column]
		children   dict[childDoc, *childDoc]
		expand     dict[text, *text]
	}

	keyDoc   = list[column, *column]
	childDoc = dict[word, *word]
)

func (d *connectionsDoc) fields() []field {
	return []field{
		{key: "connections", into: &d.connections, required: true, keys: &connectionNames, doc: "Name: how to reach one system. Flows refer to it by this name."},
		{key: "regions", into: &d.regions, keys: &regionNames, doc: "Region: how the others reach what it has for them. Flows of the pattern synchronization name them."},
		{key: "alerts", into: &d.alerts, doc: "Who is told, besides the console, when something is wrong."},
	}
}

func (d *connectionDoc) fields() []field {
	return []field{
		{key: "system", into: &d.system, required: true, enum: systems, example: "oracle", doc: "The connector that speaks with the system."},
		{key: "region", into: &d.region, example: "de", doc: "The region that the system is in. What is restricted there is given to no system of another region, and to none without one."},
		{key: "url", into: &d.url, required: true, advice: "https://HOST", example: "https://contoso.crm.dynamics.com", doc: "Where the system is; https (a database: postgres://HOST:PORT/DATABASE; a mail server: smtp://HOST:587 or smtps://HOST:465; a mailbox: imaps://HOST:993 or imap://HOST:143), without user, query or path of an API. References are resolved by the process that dials."},
		{key: "auth", into: &d.auth, required: true, doc: "How to sign in."},
		{key: "limits", into: &d.limits, doc: "What one process may ask of the system."},
		{key: "quotas", into: &d.quotas, doc: "The limits that the provider states, shared by all flows and processes."},
		{key: "budget", into: &d.budget, doc: "What may be spent on tables that have a price, by all flows and processes together."},
		{key: "hook", into: &d.hook, doc: "How deliveries of the system to Patchbay prove who sent them. Without it none is accepted."},
		{key: "settle_after", into: &d.settle, example: "5m", doc: "How long the system may take to show what was written, where a write is not decided by a key or a version: a write whose answer was lost is looked for until then. Default 0."},
		{key: "options", into: &d.options, doc: "What the connector documents."},
		{key: "tables", into: &d.tables, keys: &tableNames, doc: "Name: one resource of the system. Flows refer to it as connection.name. A mail server needs none."},
	}
}

func (d *peerDoc) fields() []field {
	return []field{
		{key: "egress", into: &d.egress, required: true, example: "${env:PATCHBAY_EGRESS_DE}", doc: "A reference to the postgres:// URL of its database, for the role that the other regions read their batches by, and nothing else."},
	}
}

func (d *authDoc) fields() []field {
	return []field{
		{key: "kind", into: &d.kind, required: true, enum: []string{"oauth2", "basic", "none"}, example: "oauth2", doc: "oauth2 (client credentials), basic or none."},
		{key: "token_url", into: &d.tokenURL, example: "https://login.microsoftonline.com/TENANT/oauth2/v2.0/token", doc: "Where tokens come from, for oauth2."},
		{key: "client_id", into: &d.clientID, doc: "For oauth2."},
		{key: "client_secret", into: &d.clientSecret, example: "${env:DATAVERSE_CLIENT_SECRET}", doc: "For oauth2: a reference, never the secret."},
		{key: "scope", into: &d.scope, example: "https://contoso.crm.dynamics.com/.default", doc: "For oauth2, where the system wants one."},
		{key: "username", into: &d.username, doc: "For basic."},
		{key: "password", into: &d.password, example: "${file:/run/secrets/oracle}", doc: "For basic: a reference, never the password."},
		{key: "expires", into: &d.expires, example: "2027-01-31", doc: "The last day on which the credential is accepted, where its provider sets one. People are told 30 days ahead."},
	}
}

func (d *connectionLimitsDoc) fields() []field {
	return []field{
		{key: "per_second", into: &d.perSecond, example: 20, doc: "Requests a second; without it there is no limit of our own."},
		{key: "burst", into: &d.burst, min: 1, max: 100_000, example: 100, doc: "Requests that may come at once before per_second binds."},
		{key: "concurrent", into: &d.concurrent, min: 1, max: 10_000, example: 16, doc: "Requests at a time; default 16."},
		{key: "timeout", into: &d.timeout, example: "10s", doc: "Of one request; default 30s."},
		{key: "max_bytes", into: &d.maxBytes, min: 1_024, max: 1 << 30, example: 16777216, doc: "Of one answer; default 16 MiB."},
	}
}

func (d *tableDoc) fields() []field {
	return []field{
		{key: "path", into: &d.path, required: true, advice: "what the system calls the table in addresses", example: "itemsV2", doc: "What the system calls the resource in addresses."},
		{key: "price", into: &d.price, example: "2.50 EUR", doc: "What the provider takes for one question. Each is asked by its where, under a reference, and paid once."},
		{key: "where", into: &d.where, keys: &columnKeys, example: object{"OrganizationCode": "V1"}, doc: "Column: text. Every read is restricted to these rows; keys are unique within them."},
		{key: "keys", into: &d.keys, example: [][]string{{"msx_productnumber", "msx_attribute"}}, doc: "Keys that the system keeps unique, each a list of columns."},
		{key: "columns", into: &d.columns, keys: &columnKeys, enum: columnKinds, example: object{"ItemNumber": "string"}, doc: "Column: type. A document is the bytes of the file that the row tells of. Without it the schema is unknown, and nothing is checked before a run."},
		{key: "refers", into: &d.refers, keys: &columnKeys, example: object{"parentcustomerid": "account"}, doc: "Column: table of this connection whose record the value identifies by the system's own ID."},
		{key: "restricted", into: &d.restricted, example: []string{"msx_diagnosis"}, doc: "Columns that leave the region of the connection by no flow."},
		{key: "prose", into: &d.prose, example: []string{"msx_remarks"}, doc: "Columns that hold free text, besides those that their names tell of: they are not shared between regions unless somebody opens them."},
		{key: "children", into: &d.children, enum: types, example: object{"ItemEffCategory": object{"AttributeName": "string"}}, doc: "Expand path: columns of the child rows."},
		{key: "expand", into: &d.expand, doc: "Expand path: what the system calls it, where the path alone is not enough."},
	}
}
