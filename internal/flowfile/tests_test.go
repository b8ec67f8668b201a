package flowfile_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/flow"
	"patchbay/internal/flowfile"
)

func validPlan(t *testing.T) *flow.Plan {
	t.Helper()
	plan, diags := flowfile.Compile(load(t, "flows/valid.yaml"), parse(t, "connections/valid.yaml"), flowfile.Options{})
	require.Empty(t, diags)
	return plan
}

func TestAFlowTestThatFailsShowsWhatDiffers(t *testing.T) {
	t.Parallel()
	const given = `
    params: { product_id: AS54888 }
    given:
      - ItemNumber: AS54888
        ItemDescription: null
        specs: [{ AttributeName: Weight, AttributeValue: 1.20 }, { AttributeName: Colour, AttributeValue: null }]
`
	for name, c := range map[string]struct{ test, diff string }{
		"passes": {given + `
    expect:
      where: { ItemNumber: AS54888, OrganizationCode: V1 }
      rows:
        - { msx_productnumber: AS54888, msx_attribute: Weight, msx_value: 1.2 }
        - { msx_productnumber: AS54888, msx_attribute: Colour, msx_value: null }
`, ""},
		"a value, a missing and a needless column": {given + `
    expect:
      rows:
        - { msx_productnumber: AS54888, msx_attribute: Weight, msx_value: "1.2" }
        - { msx_productnumber: AS54888, msx_attribute: Colour, msx_unit: kg }
`, `- row 0 msx_value: "1.2"
+ row 0 msx_value: 1.20
- row 1 msx_unit: "kg"
  (absent, which is not null)
+ row 1 msx_value: null
  (absent, which is not null)`},
		"a row too many and another condition": {given + `
    expect:
      where: { ItemNumber: X }
      rows:
        - { msx_productnumber: AS54888, msx_attribute: Weight, msx_value: 1.2 }
`, `- where ItemNumber: "X"
+ where ItemNumber: "AS54888"
+ where OrganizationCode: "V1"
  (absent, which is not null)
+ row 1 {"msx_attribute":"Colour","msx_productnumber":"AS54888","msx_value":null}`},
		"a fault instead of rows": {`
    params: { product_id: x }
    expect: { rows: [] }
`, `- rows
+ fault params.invalid: product_id does not match ^[A-Z0-9-]{3,40}$`},
		"rows instead of a fault": {given + `
    expect_fault: map.key_missing
`, `- fault map.key_missing
+ 2 rows`},
		"another fault": {`
    params: {}
    expect_fault: map.key_missing
`, `- fault map.key_missing
+ fault params.invalid: product_id is missing`},
		"a given column that is not read": {`
    params: { product_id: AS54888 }
    given: [{ ItemNumber: AS54888, ItemClass: Root, specs: [] }]
    expect: { rows: [] }
`, `given row 0: the flow does not read "ItemClass"; select it or remove it`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := flowfile.File{Name: "valid_test.yaml", Data: []byte("tests:\n  - name: " + name + c.test)}
			results, diags := flowfile.RunTests(validPlan(t), file)
			require.Empty(t, diags)
			require.Equal(t, []flowfile.Result{{Name: name, File: "valid_test.yaml", Line: 2, Col: 5, Diff: c.diff}}, results)
		})
	}
}

func compileWith(t *testing.T, pairs ...string) (*flow.Plan, []flowfile.Diagnostic) {
	t.Helper()
	f := load(t, "flows/valid.yaml")
	text := string(f.Data)
	for i := 0; i < len(pairs); i += 2 {
		require.Contains(t, text, pairs[i])
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	f.Data = []byte(text)
	return flowfile.Compile(f, parse(t, "connections/valid.yaml"), flowfile.Options{})
}

func TestAnAuthorMayAcceptRepeats(t *testing.T) {
	t.Parallel()
	plan, diags := compileWith(t, "key: [msx_productnumber, msx_attribute]", "key: [msx_productnumber], repeat: accepted")
	require.Empty(t, diags)
	require.True(t, plan.Write.Repeat)
	require.Equal(t, []string{"msx_productnumber"}, plan.Write.Key)
}

func TestAKeyMayBeNamedInAnyOrder(t *testing.T) {
	t.Parallel()
	_, diags := compileWith(t, "key: [msx_productnumber, msx_attribute]", "key: [msx_attribute, msx_productnumber]")
	require.Empty(t, diags)
}

func TestAReadOfOneRowIsOneByItsKey(t *testing.T) {
	t.Parallel()
	plan, diags := compileWith(t, "where: { ItemNumber: params.product_id }", "where: { ItemClass: params.product_id }")
	require.Empty(t, diags)
	require.False(t, plan.Read.OneRow)
}

func TestAFlowMayOnlyReadAndAnswerWithTheRows(t *testing.T) {
	t.Parallel()
	f := flowfile.File{Name: "f.yaml", Data: []byte(`flow: items
pattern: instant
summary: All items
read: { from: plm.items, select: [ItemNumber, Weight] }
`)}
	plan, diags := flowfile.Compile(f, parse(t, "connections/valid.yaml"), flowfile.Options{})
	require.Empty(t, diags)
	require.Nil(t, plan.Write)
	require.Empty(t, plan.Map)
	require.Equal(t, flow.AfterRead, plan.Respond)
	require.Equal(t, []flow.Match{{Column: "OrganizationCode", Expr: `"V1"`}}, plan.Read.Where)
}

func TestColumnTypesReachTheExpressions(t *testing.T) {
	t.Parallel()
	_, diags := compileWith(t, "[ItemNumber, ItemDescription]", "[ItemNumber, Weight]", "msx_value: item.AttributeValue", "msx_value: row.Weight")
	require.Len(t, diags, 1)
	require.Equal(t, "the expression gives a decimal where a string is due", diags[0].Message)
	_, diags = compileWith(t, "[ItemNumber, ItemDescription]", "[ItemNumber, Weight]", "msx_value: item.AttributeValue", "msx_value: fixed(row.Weight * 1.5, 2)")
	require.Empty(t, diags)
}

func TestAPlanWithoutIdentityIsForChecksOnly(t *testing.T) {
	t.Parallel()
	for _, b := range validPlan(t).Bindings {
		require.Empty(t, b.Identity)
	}
}
