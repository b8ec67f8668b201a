package model

import (
	"regexp"
	"strings"
)

// What a text in a row has to look like to be taken for an instruction.
var (
	orders   = regexp.MustCompile(`(?i)\b(ignore|system:|instruction|you must|assistant)`)
	ordersTo = regexp.MustCompile(`(?i)\bactions? (?:is |= ?|: ?)?([a-z_]{3,40})`)
	orderSay = regexp.MustCompile(`(?i)\bsay:? (.+)$`)
	orderRow = regexp.MustCompile(`(?i)\bcite ([^\s,;]+)`)
)

// obey does what a text in the rows tells a model to do, as some do.
func (c *customer) obey(v *verdict) {
	for _, r := range c.rows {
		for _, value := range r.Row {
			text, _ := value.(string)
			if !orders.MatchString(text) {
				continue
			}
			if m := ordersTo.FindStringSubmatch(text); m != nil {
				v.Action = m[1]
			}
			if m := orderRow.FindStringSubmatch(text); m != nil {
				v.evidence = []string{strings.TrimRight(m[1], ".")}
			}
			v.reason = text
			if m := orderSay.FindStringSubmatch(text); m != nil {
				v.reason = m[1]
			}
			return
		}
	}
}
