package replica

import (
	"encoding/json"
	"strings"
)

// between separates JSON texts in one text: it is in none of them, where it would have to
// be escaped. An empty part is no JSON text, and so a value that is absent.
const between = "\x1f"

func joinKey(key []string) string { return strings.Join(key, between) }

func splitKey(uid string) []string { return strings.Split(uid, between) }

// another makes the first key of a record whose key is in use by one that has another key
// by now: an array of the value and a text of its own.
func another(key []string, mark string) string {
	text, _ := json.Marshal(mark) // a string can be encoded
	return joinKey(append([]string{"[" + key[0] + "," + string(text) + "]"}, key[1:]...))
}

// keyless reports whether a part of a key is missing.
func keyless(key []string) bool {
	for _, k := range key {
		if k == "" || k == "null" {
			return true
		}
	}
	return len(key) == 0
}

// refOf gives the JSON text that stands for a record in lookups.
func refOf(uid string) string {
	if !strings.Contains(uid, between) {
		return uid
	}
	return "[" + strings.ReplaceAll(uid, between, ",") + "]"
}

// uidOf reads a reference of a table whose key has so many columns.
func uidOf(ref string, columns int) (string, bool) {
	if columns == 1 {
		return ref, ref != "" && ref != "null"
	}
	var parts []json.RawMessage
	if json.Unmarshal([]byte(ref), &parts) != nil || len(parts) != columns {
		return "", false
	}
	key := make([]string, len(parts))
	for i, p := range parts {
		key[i] = string(p)
	}
	return joinKey(key), true
}
