package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheExampleAnswersAndNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	for input, want := range map[string]string{
		`{"income": 3000, "rent": 950}`: `{"affordable":true,"part":0.31666666666666665}` + "\n" + `{"equal":false,"differ":["output.affordable"]}` + "\n",
		`{"income": 3000, "rent": 600}`: `{"affordable":true,"part":0.2}` + "\n" + `{"equal":true}` + "\n",
		`{"income": 3000}`:              "calculator.missing: input.rent is missing",
		`{"income": 0, "rent": 600}`:    "calculator.not-finite: acme.rent v1 gave what is no JSON: NaN or an infinite number",
	} {
		var out strings.Builder
		if err := answer(t.Context(), strings.NewReader(input), &out); err != nil {
			require.EqualError(t, err, want)
			continue
		}
		require.Equal(t, want, out.String())
	}
}
