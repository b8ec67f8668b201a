package message_test

import (
	"encoding/json"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/message"
)

func compiled(t *testing.T, send flow.Send) *message.Template {
	t.Helper()
	template, problems := message.Compile(send)
	require.Empty(t, problems)
	return template
}

func dataOf(rows ...flow.Row) message.Data {
	d := message.Data{Key: "C-1", Window: "w1", Recipient: "ann@example.com"}
	for _, row := range rows {
		d.Items = append(d.Items, message.Item{Key: "C-1", Row: row, Was: flow.Row{"status": json.Number("1")}, Changed: []string{"status"}, Events: 2,
			First: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Last: time.Date(2026, 1, 2, 3, 5, 0, 0, time.UTC), Change: "update", Source: "crm.case"})
	}
	return d
}

func TestOneTemplateServesASingleChangeAndADigest(t *testing.T) {
	t.Parallel()
	template := compiled(t, flow.Send{
		Subject: `{{if eq (len .Items) 1}}Case {{.Row.title}}{{else}}{{len .Items}} cases{{end}}`,
		HTML:    `<ul>{{range .Items}}<li><a href="https://x.example/{{.Row.id}}">{{.Row.title}}</a>: {{was . "status"}} to {{.Row.status}}</li>{{end}}</ul>`,
	})
	one, err := template.Render(dataOf(flow.Row{"id": "1", "title": "Pump <b>", "status": json.Number("5")}))
	require.NoError(t, err)
	require.Equal(t, "Case Pump <b>", one["subject"], "a subject is no HTML")
	require.Equal(t, `<ul><li><a href="https://x.example/1">Pump &lt;b&gt;</a>: 1 to 5</li></ul>`, one["html"], "R04: a value is no markup")
	require.Equal(t, "- Pump <b> (https://x.example/1): 1 to 5\n", one["text"])
	require.Equal(t, message.ID("w1", "ann@example.com"), one["id"])
	require.Len(t, one, len(flow.MessageColumns))

	two, err := template.Render(dataOf(flow.Row{"id": "1", "title": "A", "status": "5"}, flow.Row{"id": "2", "title": "B", "status": "6"}))
	require.NoError(t, err)
	require.Equal(t, "2 cases", two["subject"])
	require.Equal(t, "- A (https://x.example/1): 1 to 5\n- B (https://x.example/2): 1 to 6\n", two["text"])
}

func TestEqualDataGiveAnEqualRowAndOtherWindowsAnotherID(t *testing.T) {
	t.Parallel()
	template := compiled(t, flow.Send{Subject: "x", Text: "{{.Row.a}}"})
	d := dataOf(flow.Row{"a": "1"})
	first, err := template.Render(d)
	require.NoError(t, err)
	d.Recipient = "ann@EXAMPLE.com" // one mailbox
	again, err := template.Render(d)
	require.NoError(t, err)
	require.Equal(t, first, again)
	d.Window = "w2"
	other, err := template.Render(d)
	require.NoError(t, err)
	require.NotEqual(t, first["id"], other["id"])
}

func TestTheHelpersWriteDatesNumbersAndColumns(t *testing.T) {
	t.Parallel()
	row := flow.Row{"amount": json.Number("12345678901234567890.125"), "due": "2026-03-01", "none": nil, "status": json.Number("5"), "tags": []any{"a", "b"}}
	for source, want := range map[string]string{
		`{{number 2 .Row.amount}}`:                                "12345678901234567890.13",
		`{{.Row.amount}}`:                                         "12345678901234567890.125",
		`{{date "02.01.2006" .Row.due}}`:                          "01.03.2026",
		`{{date "15:04" .First}}`:                                 "03:04",
		`{{.Row.none}}|{{date "2006" .Row.none}}`:                 "|",
		`{{optional . "nothing"}}|{{optional . "due"}}`:           "|2026-03-01",
		`{{was . "status"}} {{was . "due"}}`:                      "1 2026-03-01",
		`{{if changed . "status"}}yes{{end}}`:                     "yes",
		`{{if changed . "due"}}yes{{else}}no{{end}}`:              "no",
		`{{if eq .Row.status 5}}closed{{end}}`:                    "closed",
		`{{range list .Row.tags}}[{{.}}]{{end}}`:                  "[a][b]",
		`{{range $i, $c := .Changed}}{{$i}}{{$c}}{{end}}`:         "0status",
		`{{with index .Items 0}}{{.Row.due}} {{$.Key}}{{end}}`:    "2026-03-01 C-1",
		`{{$x := .Row.due}}{{printf "%.4s" $x}}{{upper .Change}}`: "2026UPDATE",
	} {
		got, err := compiled(t, flow.Send{Text: source}).Render(dataOf(row))
		require.NoError(t, err, source)
		require.Equal(t, want, got["text"], source)
	}
}

func TestEveryProblemOfATemplateIsReportedAtItsPlaceInOnePass(t *testing.T) {
	t.Parallel()
	_, problems := message.Compile(flow.Send{
		Subject: "Case {{.Row.title}}\r\nBcc: all@example.com",
		Text:    "Hello {{.row.name}}\n{{.Rows}} {{frobnicate .Key}}\n{{.First.Format \"x\"}}",
		HTML:    "<p>{{safeHTML .Row.note}}</p>\n{{range .Row.count}}x{{end}}{{template \"x\"}}",
	})
	var lines []string
	for _, p := range problems {
		require.NotEmpty(t, p.Fix, p.Message)
		lines = append(lines, strings.SplitN(p.String(), ";", 2)[0])
	}
	require.Equal(t, []string{
		"subject:1:20: the subject has a line break",
		"text:1:13: a message has no variable .row",
		"text:2:3: a message has no variable .Rows",
		"text:2:13: there is no function \"frobnicate\"",
		"text:3:9: there is no Format in a value of this kind",
		"html:1:6: safeHTML would let a value pass as markup",
		"html:2:9: range goes over something that is no list",
		"html:2:40: a template calls another one",
	}, lines)
}

func TestEachThingATemplateMustNotBeIsAProblem(t *testing.T) {
	t.Parallel()
	for _, send := range []flow.Send{
		{},
		{Subject: "only"},
		{Text: "{{.Key"},
		{Text: "{{if .Key}}"},
		{Text: "{{$x}}"},
		{Text: "{{call .Key}}"},
		{Text: "{{js .Key}}"},
		{HTML: "{{html .Key}}"},
		{HTML: `<a href="{{.Key}}`},
		{HTML: `<a {{if .Key}}href="{{end}}>`},
		{Text: `{{define "x"}}y{{end}}z`},
		{Text: "{{range 9999999999}}{{end}}"},
		{Text: "{{range .Events}}{{end}}"},
		{Text: "{{range .Items}}{{range $.Items}}{{range $.Items}}{{end}}{{end}}{{end}}"},
		{Text: "{{$x := .Items}}{{range .Items}}{{$x = .Events}}{{range $x}}{{end}}{{end}}"},
		{Text: "{{.Items.Row}}"},
		{Text: strings.Repeat("x", 65<<10)},
	} {
		template, problems := message.Compile(send)
		require.NotEmpty(t, problems, "%.80v", send)
		require.Nil(t, template)
		for _, p := range problems {
			require.Positive(t, p.Line)
			require.Positive(t, p.Col)
		}
	}
}

func TestTheColumnsATemplateAsksForAreKnown(t *testing.T) {
	t.Parallel()
	template := compiled(t, flow.Send{Subject: "{{.Row.a}}", Text: "{{range .Items}}{{.Was.b}}{{end}}\n{{was . \"c\"}}{{optional . \"d\"}}"})
	require.Equal(t, []message.Use{
		{Part: "subject", Line: 1, Col: 7, Column: "a"}, {Part: "text", Line: 1, Col: 23, Column: "b"},
		{Part: "text", Line: 2, Col: 9, Column: "c"}, {Part: "text", Line: 2, Col: 27, Column: "d", Optional: true},
	}, template.Columns())
}

func refusedWith(t *testing.T, code string, send flow.Send, d message.Data) *fault.Fault {
	t.Helper()
	row, err := compiled(t, send).Render(d)
	require.Nil(t, row)
	f := fault.Of(err)
	require.NotNil(t, f)
	require.Equal(t, fault.Rejected, f.Class)
	require.Equal(t, code, f.Code, f.Text)
	require.NotContains(t, f.Text, "s3cret", "a fault shows no value")
	return f
}

func TestAMissingColumnFailsTheMessageAndNamesItself(t *testing.T) {
	t.Parallel()
	for _, send := range []flow.Send{{Text: "a\n{{.Row.gone}}"}, {HTML: "a\n{{.Row.gone}}"}, {Text: "a\n{{was . \"gone\"}}"}, {Text: "\n{{.Was.gone}}"}} {
		f := refusedWith(t, "send.template", send, dataOf(flow.Row{"a": "s3cret"}))
		require.Contains(t, f.Text, "line 2")
		require.Contains(t, f.Text, "column gone")
	}
	refusedWith(t, "send.template", flow.Send{Text: "{{number 2 .Row.a}}"}, dataOf(flow.Row{"a": "s3cret"}))
	refusedWith(t, "send.template", flow.Send{Text: "{{if lt .Row.a 5}}x{{end}}"}, dataOf(flow.Row{"a": "s3cret"}))
	refusedWith(t, "send.template", flow.Send{Text: "{{date \"2006\" .Row.a}}"}, dataOf(flow.Row{"a": "s3cret"}))
}

func TestNoValueCanBreakTheSubject(t *testing.T) {
	t.Parallel()
	for _, value := range []string{"s3cret\r\nBcc: x@example.com", "s3cret\nx", "s3cret\rx", "a\x00b", "a\u2028b", "a\u202eb", strings.Repeat("x", 500)} {
		refusedWith(t, "email.header", flow.Send{Subject: "{{.Row.a}}.", Text: "x"}, dataOf(flow.Row{"a": value}))
	}
}

func TestAMessageIsBounded(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("x", 60<<10)
	refusedWith(t, "send.too_large", flow.Send{Text: "{{.Row.a}}{{.Row.a}}{{.Row.a}}{{.Row.a}}{{.Row.a}}"}, dataOf(flow.Row{"a": big}))
	doubling := `{{$x := "12345678"}}{{range .Items}}{{$x = print $x $x}}{{end}}`
	rows := make([]flow.Row, 200)
	refusedWith(t, "send.template", flow.Send{Text: doubling}, dataOf(rows...))
	refusedWith(t, "send.template", flow.Send{Text: `{{printf "%1000000d" 1}}`}, dataOf(flow.Row{}))
	refusedWith(t, "send.template", flow.Send{Text: `{{printf "%*d" 1000000 1}}`}, dataOf(flow.Row{}))
	refusedWith(t, "send.template", flow.Send{Text: `{{number 2 .Row.a}}`}, dataOf(flow.Row{"a": "1e999999999"}))
}

func TestOnlyOnePlainAddressIsARecipient(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"ann@example.com", "a.b+c@sub.example.co", "+4917012345678", "x@xn--mller-kva.example"} {
		got, err := message.Address(good)
		require.NoError(t, err, good)
		require.Equal(t, good, got)
	}
	for _, bad := range []string{
		"", "ann", "ann@", "@example.com", "ann@localhost", "a@b>,<evil@x.example", `"a b"@example.com`, `"a"@example.com`, "Ann <ann@example.com>", "<ann@example.com>",
		"ann@example.com,bob@example.com", "ann@example.com\r\nBcc: x@example.com", "ann@example.com\n", " ann@example.com", "ann@[127.0.0.1]", "a..b@example.com", ".a@example.com",
		"ann(c)@example.com", "änn@example.com", "ann@exämple.com", "ann@example..com", "ann@-x.com", "ann@1.2.3.4", "a@b@example.com", strings.Repeat("a", 65) + "@example.com",
		"ann@" + strings.Repeat("a.", 130) + "com", "+49 170", "+0123456", "group:ann@example.com;",
	} {
		_, err := message.Address(bad)
		require.Error(t, err, bad)
		require.Equal(t, "email.address", fault.Of(err).Code, bad)
		require.Equal(t, fault.Rejected, fault.Of(err).Class)
	}
	refusedWith(t, "email.address", flow.Send{Text: "x"}, message.Data{Recipient: "s3cret", Items: make([]message.Item, 1)})
}

func TestTextIsMadeOfTheHTML(t *testing.T) {
	t.Parallel()
	got, err := compiled(t, flow.Send{HTML: "<!DOCTYPE html><html><head><title>T</title><style>p > a { color: red }</style></head>\n<body><!-- c > d --><h1>Hello</h1>\n<p>One\n two&nbsp;&amp; <b>three</b>.<br/>Four</p><table><tr><td>A</td><td>1</td></tr><tr><td>B</td></tr></table></body></html>"}).Render(dataOf(flow.Row{}))
	require.NoError(t, err)
	require.Equal(t, "Hello\n\nOne two\u00a0& three.\nFour\n\nA 1\nB\n", got["text"])
}

func FuzzTemplate(f *testing.F) {
	f.Add("{{.Row.a}}", "x", "ann@example.com")
	f.Add("<p>{{range .Items}}{{was . \"a\"}}{{end}}", "\r\n", "a@b>,<evil@x")
	f.Add("{{printf \"%5d\" .Events}}{{number 2 .Row.a}}{{date \"2006\" .First}}", "1e5", "\"a\"@example.com")
	f.Fuzz(func(t *testing.T, source, value, recipient string) {
		for _, send := range []flow.Send{{Subject: source, Text: "x"}, {Text: source}, {HTML: source}} {
			template, problems := message.Compile(send)
			if len(problems) > 0 {
				continue
			}
			d := dataOf(flow.Row{"a": value})
			d.Recipient = recipient
			row, err := template.Render(d)
			if err != nil {
				if f := fault.Of(err); f.Class != fault.Rejected {
					t.Fatalf("%v", err)
				}
				continue
			}
			if strings.ContainsAny(row["subject"].(string), "\r\n") {
				t.Fatalf("the subject has a line break: %q", row["subject"])
			}
			if len(row["text"].(string)) > 300<<10 || len(row["html"].(string)) > 256<<10 {
				t.Fatal("the message has no bound")
			}
			if to := row["recipient"].(string); !strings.HasPrefix(to, "+") {
				list, err := mail.ParseAddressList(to)
				if err != nil || len(list) != 1 || list[0].Address != to {
					t.Fatalf("not one recipient: %q", to)
				}
			}
		}
	})
}

func TestATemplateThatShowsARecordAsOneValueSaysSo(t *testing.T) {
	t.Parallel()
	for text, whole := range map[string]bool{
		"{{.Row.name}}":                    false,
		`{{optional .Row "name"}}`:         false,
		`{{was . "name"}}`:                 false,
		"{{with .Row}}{{.name}}{{end}}":    false,
		"{{(index .Items 0).Row.name}}":    false,
		"{{if .Row}}{{len .Items}}{{end}}": false,
		"{{range .Items}}{{.Key}}{{end}}":  false,
		"{{.Row}}":                         true,
		"{{.}}":                            true,
		"{{.Items}}":                       true,
		`{{printf "%v" .Row}}`:             true,
		"{{.Row | print}}":                 true,
		`{{index .Row "name"}}`:            true,
		"{{$r := .Row}}{{$r}}":             true,
		"{{with .Row}}{{.}}{{end}}":        true,
		"{{range .Items}}{{.}}{{end}}":     true,
		`{{$c := "name"}}{{was . $c}}`:     true,
		"{{or .Row .Key}}":                 true,
		"{{(index .Items 0).Was}}":         true,
	} {
		require.Equal(t, whole, compiled(t, flow.Send{Text: text}).Whole(), text)
	}
}
