package dataverse

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"patchbay/internal/connector"
	"patchbay/internal/connector/hook"
	"patchbay/internal/fault"
)

// oversized stands in a delivery whose images and parameters were left out.
const oversized = "X-Ms-Dynamics-Msg-Size-Exceeded"

// maxDepth is how deep the platform nests operations before it stops them.
const maxDepth = 8

// messages are the platform's words for the types of change.
var messages = map[string]string{"Create": "create", "Update": "update", "Delete": "delete"}

// Recognises goes by the headers of the platform.
func (v *Dataverse) Recognises(d connector.Delivery) bool {
	h := http.Header(d.Header)
	return h.Get("X-Ms-Dynamics-Request-Name") != "" || h.Get("X-Ms-Dynamics-Organization") != ""
}

// Receive reads a RemoteExecutionContext: one event. Fields that it does not know
// are passed over; the platform adds to them.
func (v *Dataverse) Receive(_ context.Context, d connector.Delivery) ([]connector.Event, error) {
	if _, err := v.guard.Prove(d); err != nil {
		return nil, err
	}
	body, err := hook.JSON(d, d.Body)
	if err != nil {
		return nil, err
	}
	said, _ := body.(map[string]any)
	logical, _ := said["PrimaryEntityName"].(string)
	record, _ := said["PrimaryEntityId"].(string)
	message, _ := said["MessageName"].(string)
	if logical == "" || message == "" || !isGUID(record) {
		return nil, hook.Malformed("MessageName, PrimaryEntityName and PrimaryEntityId are due, as of a RemoteExecutionContext")
	}
	change, ok := messages[message]
	if !ok {
		return nil, fault.Invalidf("hook.message", "the delivery is of a message that is none of Create, Update, Delete; register steps of these only")
	}
	record = strings.ToLower(record)
	x := v.entity(logical)
	e := connector.Event{
		ID: operation(said, message, logical, record, d.Body), Table: x.table, Record: record, Change: change, At: d.At, Origin: tag(said),
	}
	if at, ok := said["OperationCreatedOn"].(string); ok {
		if at, ok := moment(at); ok {
			e.At = at
		}
	}
	target, given := find(said["InputParameters"], "Target")
	e.Trimmed = change != "delete" && (!given || http.Header(d.Header).Get(oversized) != "")
	return []connector.Event{x.fill(e, said, target)}, nil
}

// operation is the ID of what happened: the platform sends one operation again
// under the same OperationId. A synchronous step has none; then the body decides,
// which is the same in the repetition.
func operation(said map[string]any, message, logical, record string, body []byte) string {
	id, _ := said["OperationId"].(string)
	if !isGUID(id) || strings.Trim(id, "0-") == "" {
		correlation, _ := said["CorrelationId"].(string)
		sum := sha256.Sum256(body)
		id = correlation + "/" + hex.EncodeToString(sum[:16])
	}
	return hook.ID(message + " " + logical + "(" + record + ") " + strings.ToLower(id))
}

// tag is the mark of whoever wrote, in the operation or in one that it is part of.
func tag(said map[string]any) string {
	for range maxDepth + 1 {
		if found, ok := find(said["SharedVariables"], "tag"); ok {
			text, _ := found.(string)
			return text
		}
		said, _ = said["ParentContext"].(map[string]any)
	}
	return ""
}

// find looks for a key in a list of keys and values.
func find(list any, key string) (any, bool) {
	pairs, _ := list.([]any)
	for _, one := range pairs {
		if pair, ok := one.(map[string]any); ok && pair["key"] == key {
			return pair["value"], true
		}
	}
	return nil, false
}

// fill reads the target and the images. An image leaves out what is null, so
// columns that the connection names and an image lacks are null in it.
func (x entity) fill(e connector.Event, said map[string]any, target any) connector.Event {
	sent := x.row(target)
	before, hasBefore := x.image(said["PreEntityImages"])
	after, hasAfter := x.image(said["PostEntityImages"])
	if hasBefore {
		before[x.primary] = e.Record
		e.Before = before
	}
	if e.Change == "delete" {
		return e
	}
	e.After = sent
	if hasAfter {
		e.After, e.Whole = after, true
		for column, value := range sent { // a null of the request is none of the image
			if _, ok := after[column]; !ok && value == nil {
				after[column] = nil
			}
		}
	}
	if e.After != nil {
		e.After[x.primary] = e.Record
	}
	if hasBefore {
		for column := range e.After {
			if _, ok := before[column]; !ok && hasAfter {
				before[column] = nil
			}
		}
		for column := range before {
			if _, ok := e.After[column]; !ok && hasAfter {
				e.After[column] = nil
			}
		}
	}
	if e.Change == "update" && sent != nil {
		for column := range sent {
			if column != x.primary {
				e.Sent = append(e.Sent, column)
			}
		}
		slices.Sort(e.Sent)
	}
	e.Version = version(target, said["PostEntityImages"])
	return e
}

// image merges the images of a list: a step may have several, of other columns.
func (x entity) image(list any) (connector.Row, bool) {
	pairs, _ := list.([]any)
	var merged connector.Row
	for _, one := range pairs {
		pair, _ := one.(map[string]any)
		row := x.row(pair["value"])
		if row == nil {
			continue
		}
		if merged == nil {
			merged = connector.Row{}
			for _, column := range x.columns {
				if column != x.primary {
					merged[column] = nil
				}
			}
		}
		for column, value := range row {
			merged[column] = value
		}
	}
	if merged != nil {
		delete(merged, x.primary)
	}
	return merged, merged != nil
}

// version is the row version of an entity, where one says it.
func version(target, images any) int64 {
	list, _ := images.([]any)
	candidates := []any{target}
	for _, one := range list {
		pair, _ := one.(map[string]any)
		candidates = append(candidates, pair["value"])
	}
	var highest int64
	for _, one := range candidates {
		of, _ := one.(map[string]any)
		said, _ := of["RowVersion"].(string)
		if attribute, ok := find(of["Attributes"], "versionnumber"); ok {
			said = text(attribute)
		}
		if n, err := strconv.ParseInt(said, 10, 64); err == nil {
			highest = max(highest, n)
		}
	}
	return highest
}
