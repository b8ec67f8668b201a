package calculator

import (
	"bytes"
	"crypto/sha256"
	"encoding"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"patchbay/internal/fault"
	"patchbay/internal/strictjson"
)

// Contract is the shape of a calculator's input and output, as text: one field a line. Keep
// it beside a test, and a change of shape under the same version is seen.
type Contract string

// Digest is the contract's SHA-256, in hexadecimal.
func (c Contract) Digest() string {
	sum := sha256.Sum256([]byte(c))
	return hex.EncodeToString(sum[:])
}

func contractOf(name, version string, in, out reflect.Type) Contract {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n", name, version)
	shape(&b, "input", in, nil)
	shape(&b, "output", out, nil)
	return Contract(b.String())
}

var text = reflect.TypeFor[encoding.TextMarshaler]()

// shape writes a type's fields, and refuses what has no one shape.
func shape(b *strings.Builder, path string, t reflect.Type, above []reflect.Type) {
	kind := t.Kind()
	switch {
	case t.Implements(text):
		fmt.Fprintf(b, "%s text\n", path)
	case slices.Contains(above, t):
		panic(fmt.Sprintf("calculator: %s holds itself: %s", path, t))
	case kind == reflect.Struct:
		for _, f := range fieldsOf(t) {
			shape(b, path+"."+f.name, f.of, append(above, t))
		}
	case kind == reflect.Pointer:
		shape(b, strings.TrimSuffix(path, "?")+"?", t.Elem(), append(above, t))
	case kind == reflect.Slice, kind == reflect.Array:
		shape(b, path+"[]", t.Elem(), append(above, t))
	case kind == reflect.Map && t.Key().Kind() == reflect.String:
		shape(b, path+"{}", t.Elem(), append(above, t))
	case kind == reflect.Bool, kind == reflect.String, kind >= reflect.Int && kind <= reflect.Uint64, kind == reflect.Float64:
		fmt.Fprintf(b, "%s %s\n", path, kind)
	default:
		panic(fmt.Sprintf("calculator: %s cannot be in a contract: %s", path, t))
	}
}

// field is one of a struct as JSON has it.
type field struct {
	name     string
	of       reflect.Type
	optional bool
}

func fieldsOf(t reflect.Type) []field {
	var out []field
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || name == "-" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		optional := f.Type.Kind() == reflect.Pointer || strings.Contains(options, "omit")
		if optional {
			name += "?"
		}
		out = append(out, field{name: name, of: f.Type, optional: optional})
	}
	return out
}

// missing names the fields that have to be there and are not. A figure that is absent is not 0.
func missing(found []fault.Field, t reflect.Type, tree any, path string) []fault.Field {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch v := tree.(type) {
	case map[string]any:
		if t.Kind() != reflect.Struct || t.Implements(text) {
			if t.Kind() == reflect.Map {
				for key, value := range v {
					found = missing(found, t.Elem(), value, fault.At(path, key))
				}
			}
			return found
		}
		for _, f := range fieldsOf(t) {
			name := strings.TrimSuffix(f.name, "?")
			value, there := v[name]
			switch at := fault.At(path, name); {
			case there && value != nil:
				found = missing(found, f.of, value, at)
			case !f.optional:
				found = append(found, fault.Field{Path: at, Code: "calculator.missing", Detail: "is missing", Fix: "give it: an absent figure is not 0"})
			}
		}
	case []any:
		if t.Kind() == reflect.Slice || t.Kind() == reflect.Array {
			for i, value := range v {
				found = missing(found, t.Elem(), value, fault.AtIndex(path, i))
			}
		}
	}
	return found
}

// canonical is the one JSON of a value: keys sorted, no spaces, no escapes but those JSON needs.
func canonical(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return Canonical(b)
}

// Canonical is the one form of a JSON text: keys sorted by their bytes, no spaces, no escapes but
// those JSON needs, numbers digit for digit as they are.
func Canonical(b []byte) ([]byte, error) {
	tree, err := strictjson.Decode(b, "json")
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(tree); err != nil { // of a map, Encode sorts the keys
		return nil, err
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}
