package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"patchbay/internal/fault"
)

// Unmarshal reads exactly one JSON value into dst, a pointer. Keys that dst has
// no field for are refused, all of them in one fault with code "field.unknown";
// a key that differs from a field only in case is one of them. A value of the
// wrong type is a fault with code "field.type".
func Unmarshal(b []byte, dst any) error {
	v, err := Decode(b, "")
	if err != nil {
		return err
	}
	w := walker{}
	w.check("", v, reflect.TypeOf(dst))
	if len(w) > 0 {
		names := make([]string, len(w))
		for i, f := range w {
			names[i] = f.Path
		}
		return fault.Invalidf(CodeUnknownField, "unknown: %s", strings.Join(names, ", ")).With(w...)
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
		path := wrong.Field // names of Go fields, so dotted already
		return fault.Invalidf(CodeFieldType, "%s must be %s", path, kindOf(wrong.Type)).With(
			fault.Field{Path: path, Code: CodeFieldType, Detail: "must be " + kindOf(wrong.Type)})
	}
	return fault.New(fault.Invalid, CodeFieldType, "a value is not of the type that is due", err)
}

// walker gathers the keys that a Go type has no field for.
type walker []fault.Field

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

func (w *walker) check(path string, v any, t reflect.Type) {
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
		w.object(path, v, t)
	case []any:
		if t.Kind() == reflect.Slice || t.Kind() == reflect.Array {
			for i, item := range v {
				w.check(fault.AtIndex(path, i), item, t.Elem())
			}
		}
	}
}

func (w *walker) object(path string, v map[string]any, t reflect.Type) {
	keys := slices.Sorted(maps.Keys(v))
	switch t.Kind() {
	case reflect.Map:
		for _, key := range keys {
			w.check(fault.At(path, key), v[key], t.Elem())
		}
	case reflect.Struct:
		known := fieldsOf(t)
		for _, key := range keys {
			if field, ok := known[key]; ok {
				w.check(fault.At(path, key), v[key], field)
				continue
			}
			*w = append(*w, fault.Field{
				Path: fault.At(path, key), Code: CodeUnknownField,
				Detail: "there is no such field", Fix: suggest(key, known),
			})
		}
	}
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
