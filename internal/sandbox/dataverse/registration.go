package dataverse

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"patchbay/internal/sandbox/storage"
)

// The tables in which webhooks are registered, as documented.
func registrationTables() []Table {
	to := func(name, table, navigation string) Column {
		return Column{Name: name, Type: Lookup, Targets: []Target{{Table: table, Navigation: navigation}}}
	}
	on := states(choicesFrom(0, "Enabled", "Disabled"), []Option{{1, "Enabled", 0}, {2, "Disabled", 1}})
	return []Table{
		{
			Logical: "serviceendpoint", Set: "serviceendpoints", Primary: "serviceendpointid", NameColumn: "name", Label: "Service Endpoint", Untracked: true,
			Columns: []Column{
				{Name: "name", Type: String, Length: 160, Required: true}, {Name: "description", Type: String, Length: 100}, {Name: "url", Type: String, Length: 2000},
				{Name: "contract", Type: Picklist, Required: true, Options: []Option{{Value: 1, Label: "OneWay"}, {Value: 2, Label: "Queue"}, {Value: 6, Label: "Topic"}, {Value: 7, Label: "Event Hub"}, {Value: 8, Label: "Webhook"}}},
				{Name: "authtype", Type: Picklist, Options: []Option{{Value: 4, Label: "WebhookKey"}, {Value: 5, Label: "HttpHeader"}, {Value: 6, Label: "HttpQueryString"}}},
				{Name: "messageformat", Type: Picklist, Options: []Option{{Value: 1, Label: "Binary XML"}, {Value: 2, Label: "Json"}, {Value: 3, Label: "Text XML"}}, Default: int64(2)},
				{Name: "authvalue", Type: String, Length: 2000, Hidden: true},
			},
		},
		{
			Logical: "sdkmessage", Set: "sdkmessages", Primary: "sdkmessageid", NameColumn: "name", Label: "Sdk Message", Untracked: true,
			Columns: []Column{{Name: "name", Type: String, Length: 256}},
		},
		{
			Logical: "sdkmessagefilter", Set: "sdkmessagefilters", Primary: "sdkmessagefilterid", NameColumn: "primaryobjecttypecode", Label: "Sdk Message Filter", Untracked: true,
			Columns: []Column{{Name: "primaryobjecttypecode", Type: String, Length: 100}, to("sdkmessageid", "sdkmessage", "sdkmessageid")},
		},
		{
			Logical: "sdkmessageprocessingstep", Set: "sdkmessageprocessingsteps", Primary: "sdkmessageprocessingstepid", NameColumn: "name", Label: "Sdk Message Processing Step", Untracked: true,
			Columns: append([]Column{
				{Name: "name", Type: String, Length: 256}, {Name: "description", Type: String, Length: 256}, {Name: "rank", Type: Integer, Required: true}, {Name: "supporteddeployment", Type: Picklist, Options: choicesFrom(0, "Server Only", "Client Only", "Both")},
				{Name: "stage", Type: Picklist, Required: true, Options: []Option{{Value: 10, Label: "Pre-validation"}, {Value: 20, Label: "Pre-operation"}, {Value: 40, Label: "Post-operation"}}},
				{Name: "mode", Type: Picklist, Required: true, Options: choicesFrom(0, "Synchronous", "Asynchronous")}, {Name: "asyncautodelete", Type: Boolean, Default: false, Options: yesNo},
				{Name: "filteringattributes", Type: Memo, Length: 100000}, {Name: "configuration", Type: Memo, Length: 100000},
				to("eventhandler", "serviceendpoint", "eventhandler_serviceendpoint"), to("sdkmessageid", "sdkmessage", "sdkmessageid"), to("sdkmessagefilterid", "sdkmessagefilter", "sdkmessagefilterid"),
			}, on...),
			Collections: []Collection{{Navigation: "sdkmessageprocessingstepid_sdkmessageprocessingstepimage", Table: "sdkmessageprocessingstepimage", Column: "sdkmessageprocessingstepid"}},
		},
		{
			Logical: "sdkmessageprocessingstepimage", Set: "sdkmessageprocessingstepimages", Primary: "sdkmessageprocessingstepimageid", NameColumn: "name", Label: "Sdk Message Processing Step Image", Untracked: true,
			Columns: []Column{
				{Name: "name", Type: String, Length: 256}, {Name: "entityalias", Type: String, Length: 256}, {Name: "messagepropertyname", Type: String, Length: 256, Required: true},
				{Name: "imagetype", Type: Picklist, Required: true, Options: choicesFrom(0, "PreImage", "PostImage", "Both")}, {Name: "attributes", Type: Memo, Length: 100000},
				to("sdkmessageprocessingstepid", "sdkmessageprocessingstep", "sdkmessageprocessingstepid"),
			},
		},
	}
}

// The messages that steps can be registered for.
var messageNames = []string{"Create", "Update", "Delete"}

// Messages are the rows of sdkmessage and sdkmessagefilter, which the platform
// has and nobody writes.
func (e *Environment) Messages() (messages, filters []storage.Row) {
	id := func(block, n int) string { return fmt.Sprintf("%08x-5eed-4000-8000-%012x", 0xe0+block, n) }
	for i, name := range messageNames {
		messages = append(messages, storage.Row{"sdkmessageid": id(0, i+1), "name": name, "versionnumber": int64(i + 1)})
		for j, t := range e.Tables {
			if !t.Untracked {
				n := i*len(e.Tables) + j + 1
				filters = append(filters, storage.Row{"sdkmessagefilterid": id(1, n), "primaryobjecttypecode": t.Logical, "_sdkmessageid_value": id(0, i+1), "versionnumber": int64(n)})
			}
		}
	}
	return messages, filters
}

type (
	// step is one registration, as a delivery needs it.
	step struct {
		id, name, message, logical string
		asked                      []string // filteringattributes; empty: any
		to                         endpoint
		images                     []stepImage
	}

	endpoint struct {
		id, url, auth string
		kind          int64
	}

	stepImage struct {
		alias      string
		kind       int64
		attributes []string // empty: all
	}
)

// readSteps reads every enabled step after the commit that leads to a webhook.
func (s *System) readSteps(ctx context.Context, tx storage.Tx) ([]step, error) {
	rows := map[string][]storage.Row{}
	for _, logical := range []string{"serviceendpoint", "sdkmessage", "sdkmessagefilter", "sdkmessageprocessingstep", "sdkmessageprocessingstepimage"} {
		t := s.env.byLogical[logical]
		if t == nil {
			return nil, nil
		}
		found, err := tx.Find(ctx, t.rows, storage.Query{})
		if err != nil {
			return nil, fmt.Errorf("reading the registered steps: %w", err)
		}
		if len(found) == 0 && logical != "sdkmessageprocessingstepimage" {
			return nil, nil
		}
		rows[logical] = found
	}
	byID := func(logical string, id any) storage.Row {
		t := s.env.byLogical[logical]
		i := slices.IndexFunc(rows[logical], func(r storage.Row) bool { return id != nil && r[t.Primary] == id })
		if i < 0 {
			return nil
		}
		return rows[logical][i]
	}
	var list []step
	for _, row := range rows["sdkmessageprocessingstep"] {
		to, message := byID("serviceendpoint", row["_eventhandler_value"]), byID("sdkmessage", row["_sdkmessageid_value"])
		filter := byID("sdkmessagefilter", row["_sdkmessagefilterid_value"])
		if to == nil || message == nil || filter == nil || to["contract"] != int64(8) || row["stage"] != int64(40) || row["mode"] != int64(1) || row["statecode"] != int64(0) {
			continue
		}
		x := step{id: textOf(row, "sdkmessageprocessingstepid"), name: textOf(row, "name"), message: textOf(message, "name"), logical: textOf(filter, "primaryobjecttypecode"),
			asked: commas(textOf(row, "filteringattributes")),
			to:    endpoint{id: textOf(to, "serviceendpointid"), url: textOf(to, "url"), auth: textOf(to, "authvalue")}}
		x.to.kind, _ = to["authtype"].(int64)
		for _, image := range rows["sdkmessageprocessingstepimage"] {
			if image["_sdkmessageprocessingstepid_value"] == row["sdkmessageprocessingstepid"] {
				kind, _ := image["imagetype"].(int64)
				x.images = append(x.images, stepImage{textOf(image, "entityalias"), kind, commas(textOf(image, "attributes"))})
			}
		}
		list = append(list, x)
	}
	return list, nil
}

func textOf(row storage.Row, name string) string {
	s, _ := row[name].(string)
	return s
}

// commas is a list with commas; nil where there is nothing.
func commas(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
}

// endpointAllowed refuses a webhook that would leave this machine: the sandbox
// stands in for a system and must not be a way to others.
func (s *System) endpointAllowed(t *Table, row storage.Row) error {
	text, ok := row["url"].(string)
	if t.Logical != "serviceendpoint" || !ok {
		return nil
	}
	to, err := url.Parse(text)
	if err != nil || to.Scheme != "http" && to.Scheme != "https" || to.Host == "" || to.User != nil {
		return refuse(http.StatusBadRequest, "0x80040203", "The url of a webhook is http or https, with a host and without a user.")
	}
	if !s.hooks.allowed(to.Hostname()) {
		return refuse(http.StatusBadRequest, "0x80040203", "The sandbox sends webhooks to this machine and to the hosts it was started with only; %s is none of them.", to.Hostname())
	}
	return nil
}

// cascade removes what hangs on a row of the registration.
func (s *System) cascade(ctx context.Context, tx storage.Tx, t *Table, id any) error {
	remove := func(logical, column string, id any) error {
		to := s.env.byLogical[logical]
		if to == nil {
			return nil
		}
		if _, err := tx.Delete(ctx, to.rows, storage.Compare{Column: column, Op: storage.Eq, Value: id}); err != nil {
			return fmt.Errorf("removing what hangs on a registration: %w", err)
		}
		return nil
	}
	switch t.Logical {
	case "sdkmessageprocessingstep":
		return remove("sdkmessageprocessingstepimage", "_sdkmessageprocessingstepid_value", id)
	case "serviceendpoint":
		steps, err := tx.Find(ctx, s.env.byLogical["sdkmessageprocessingstep"].rows, storage.Query{Where: storage.Compare{Column: "_eventhandler_value", Op: storage.Eq, Value: id}})
		if err != nil {
			return fmt.Errorf("looking for the steps of an endpoint: %w", err)
		}
		for _, step := range steps {
			if err := remove("sdkmessageprocessingstepimage", "_sdkmessageprocessingstepid_value", step["sdkmessageprocessingstepid"]); err != nil {
				return err
			}
		}
		return remove("sdkmessageprocessingstep", "_eventhandler_value", id)
	}
	return nil
}
