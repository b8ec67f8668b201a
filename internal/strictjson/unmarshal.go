package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sort"
	"strconv"
	"strings"

	"patchbay/internal/fault"
)

// Unmarshal reads exactly one JSON value into dst, a pointer. Keys that dst has
// no field for are refused, all of them in one fault with code "field.unknown";
// a key that differs from a field only in case is one of them. A value of the
// wrong type is a fault with code "field.type".
func Unmarshal(b []byte, dst any) error {
	v, err := Decode(b)
	if err != nil {
		return err
	}
	w := walker{}
	w.check(v, reflect.TypeOf(dst))
	if len(w.fields) > 0 {
		names := make([]string, len(w.fields))
		for i, f := range w.fields {
			names[i] = f.Path
		}
		return fault.Invalidf(CodeUnknownField, "unknown: %s", strings.Join(names, ", ")).With(w.fields...)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	err = dec.Decode(dst)
	var wrong *json.UnmarshalTypeError
	var known *fault.Fault
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return known
	case errors.As(err, &wrong):
		path := "/" + strings.ReplaceAll(printable(wrong.Field), ".", "/")
		return fault.Invalidf(CodeFieldType, "%s must be %s", path, kindOf(wrong.Type)).With(
			fault.Field{Path: path, Code: CodeFieldType, Detail: "must be " + kindOf(wrong.Type)})
	}
	return fault.New(fault.Invalid, CodeFieldType, "a value is not of the type that is due", err)
}

// walker finds the keys that a Go type has no field for.
type walker struct {
	path   []string
	fields []fault.Field
}

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

func (w *walker) check(v any, t reflect.Type) {
	for t != nil && t.Kind() == reflect.Pointer {
		if t.Implements(unmarshaler) {
			return // the type reads itself
		}
		t = t.Elem()
	}
	if t == nil || reflect.PointerTo(t).Implements(unmarshaler) {
		return
	}
	switch v := v.(type) {
	case map[string]any:
		w.object(v, t)
	case []any:
		if t.Kind() == reflect.Slice || t.Kind() == reflect.Array {
			for i, item := range v {
				w.step(strconv.Itoa(i), item, t.Elem())
			}
		}
	}
}

func (w *walker) object(v map[string]any, t reflect.Type) {
	keys := make([]string, 0, len(v))
	for key := range v {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	switch t.Kind() {
	case reflect.Map:
		for _, key := range keys {
			w.step(key, v[key], t.Elem())
		}
	case reflect.Struct:
		known := fieldsOf(t)
		for _, key := range keys {
			if field, ok := known[key]; ok {
				w.step(key, v[key], field)
				continue
			}
			w.fields = append(w.fields, fault.Field{
				Path: pointer(append(w.path, key)), Code: CodeUnknownField,
				Detail: "there is no such field", Fix: suggest(key, known),
			})
		}
	}
}

func (w *walker) step(key string, v any, t reflect.Type) {
	w.path = append(w.path, key)
	w.check(v, t)
	w.path = w.path[:len(w.path)-1]
}

// fieldsOf lists the JSON names of a struct, those of embedded structs included.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	out := map[string]reflect.Type{}
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || !f.IsExported() || f.Anonymous && name == "":
			continue
		case name == "":
			name = f.Name
		}
		out[name] = f.Type
	}
	return out
}

func suggest(key string, known map[string]reflect.Type) string {
	names := make([]string, 0, len(known))
	for name := range known {
		names = append(names, name)
	}
	slices.Sort(names)
	if near := fault.Closest(key, names); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	if len(names) == 0 {
		return "remove it"
	}
	return "one of " + strings.Join(names, ", ")
}

func kindOf(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a string"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "an object"
	}
	return "a number in range"
}
