package expr

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// Absent is the value of an expression whose optional result is not there, for
// example row.?column of a row without that column. It differs from nil.
var Absent any = absent{}

type absent struct{}

// adapter turns JSON values into CEL values without loss.
type adapter struct {
	types.Adapter // for CEL's own values
}

// NativeToValue implements types.Adapter.
func (a adapter) NativeToValue(v any) ref.Val {
	switch v := v.(type) {
	case nil:
		return types.NullValue
	case ref.Val:
		return v
	case string:
		return types.String(v)
	case json.Number:
		return number(string(v))
	case bool:
		return types.Bool(v)
	case int64:
		return types.Int(v)
	case int:
		return types.Int(v)
	case map[string]any:
		return types.NewStringInterfaceMap(a, v)
	case []any:
		return types.NewDynamicList(a, v)
	case []ref.Val:
		return types.NewRefValList(a, v)
	case map[ref.Val]ref.Val:
		return types.NewRefValMap(a, v)
	case float64, float32:
		// Whoever decoded the row has already rounded it.
		return types.NewErr("a floating-point number reached an expression")
	}
	return a.Adapter.NativeToValue(v)
}

// plain turns a result back into a JSON value.
func plain(v ref.Val) (any, error) {
	switch v := v.(type) {
	case types.Null:
		return nil, nil
	case types.String:
		return string(v), nil
	case types.Bool:
		return bool(v), nil
	case types.Int:
		return json.Number(strconv.FormatInt(int64(v), 10)), nil
	case decimal:
		return v.jsonNumber(), nil
	case types.Timestamp:
		return v.Time.UTC().Format(time.RFC3339Nano), nil
	case types.Duration:
		return string(v.ConvertToType(types.StringType).(types.String)), nil
	case *types.Optional:
		if !v.HasValue() {
			return Absent, nil
		}
		return plain(v.GetValue())
	case traits.Mapper:
		return plainMap(v)
	case traits.Lister:
		return plainList(v)
	}
	return nil, fmt.Errorf("a %s is no JSON value", v.Type().TypeName())
}

func plainMap(m traits.Mapper) (any, error) {
	if native, ok := m.Value().(map[string]any); ok {
		return native, nil // a row that came in goes out as it is
	}
	out := map[string]any{}
	for it := m.Iterator(); it.HasNext() == types.True; {
		key := it.Next()
		name, ok := key.(types.String)
		if !ok {
			return nil, fmt.Errorf("a key of type %s is no JSON key", key.Type().TypeName())
		}
		v, err := plain(m.Get(key))
		if err != nil {
			return nil, err
		}
		if v != Absent {
			out[string(name)] = v
		}
	}
	return out, nil
}

func plainList(l traits.Lister) (any, error) {
	if native, ok := l.Value().([]any); ok {
		return native, nil
	}
	out := []any{}
	for it := l.Iterator(); it.HasNext() == types.True; {
		v, err := plain(it.Next())
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}
