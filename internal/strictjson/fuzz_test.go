package strictjson_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/strictjson"
)

// FuzzDecode holds the decoder against encoding/json: what is accepted is what
// everybody reads, and reads the same after it was written again; what is refused
// is refused at a place inside the input.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"a":[1,2.5e3,"x\u00e9",null,true]}`, `"\ud83d\ude00"`, `[[[]]]`, `{"a":1,"a":2}`, `-0`, `1e400`, `1E+308`, "\"\xff\"",
		"\ufeff{}", `{"lines":[{"id":1,"amount":9007199254740993}],"Number":1}`, `{"number":"A","lines":[{"note":null,"id":99999999999999999999}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := strictjson.Decode(in, "body")
		var into order
		filled := strictjson.Unmarshal(in, &into)
		if err != nil {
			refused(t, in, err)
			refused(t, in, filled)
			return
		}
		require.LessOrEqual(t, depth(got), strictjson.MaxDepth)
		var want any
		dec := json.NewDecoder(bytes.NewReader(in))
		dec.UseNumber()
		require.NoError(t, dec.Decode(&want))
		require.Equal(t, want, got)
		written, err := json.Marshal(got)
		require.NoError(t, err)
		again, err := strictjson.Decode(written, "body")
		require.NoError(t, err)
		require.Equal(t, got, again)

		if filled != nil {
			require.Equal(t, fault.Invalid, fault.Of(filled).Class)
			return
		}
		var plain order
		dec = json.NewDecoder(bytes.NewReader(in))
		dec.UseNumber()
		require.NoError(t, dec.Decode(&plain))
		require.Equal(t, plain, into)
	})
}

func refused(t *testing.T, in []byte, err error) {
	t.Helper()
	f := fault.Of(err)
	require.Equal(t, fault.Invalid, f.Class)
	var place strictjson.PlaceError
	require.ErrorAs(t, err, &place)
	require.True(t, place.Offset >= 0 && place.Offset <= len(in))
	require.NotEmpty(t, f.Fields[0].Fix)
}

func depth(v any) int {
	most := 0
	switch v := v.(type) {
	case map[string]any:
		for _, inner := range v {
			most = max(most, depth(inner))
		}
	case []any:
		for _, inner := range v {
			most = max(most, depth(inner))
		}
	default:
		return 0
	}
	return most + 1
}
