package advice

import (
	"slices"

	"patchbay/internal/fault"
	"patchbay/internal/strictjson"
)

type (
	// Reason is why an answer was refused.
	Reason string

	// answer is one that was accepted.
	answer struct {
		action, reason string
		evidence       []string
	}
)

// The reasons.
const (
	TooLarge       Reason = "answer.too_large"
	NotJSON        Reason = "answer.not_json"
	WrongSchema    Reason = "answer.schema"
	UnknownAction  Reason = "answer.action_unknown"
	NotOffered     Reason = "answer.action_not_offered"
	UnknownRow     Reason = "answer.evidence_unknown"
	SameRowTwice   Reason = "answer.evidence_twice"
	UnknownNumber  Reason = "answer.number_unknown"
	UnwantedText   Reason = "answer.text"
	RepeatedText   Reason = "answer.repeats_data"
	needsStaleData Reason = "answer.action_withheld" // no refusal: the plan is withheld
)

// refusals are the reasons in words, for a person and for the model.
var refusals = map[Reason]string{
	TooLarge:      "it is too long",
	NotJSON:       "it is not one JSON object",
	WrongSchema:   "it does not have the members that are asked for",
	UnknownAction: "its action does not exist",
	NotOffered:    "its action is not possible for this customer",
	UnknownRow:    "it cites a row that is not there",
	SameRowTwice:  "it cites a row twice",
	UnknownNumber: "its reason has a number that is neither in a row it cites nor in the facts, or that is not written as it is there",
	UnwantedText:  "its reason holds an address, markup or characters that are no plain text",
	RepeatedText:  "its reason repeats text of a row",
}

// judge reads what a model said and proves it against what it was shown.
func (s *Spec) judge(a *asked, text []byte) (answer, Reason) {
	// A character takes at most 12 bytes in JSON: two escapes.
	if most := 12*(s.Limits.Reason+s.Limits.Evidence*(len(s.Sources)+1)*(mostToken+8)) + 4096; len(text) > most {
		return answer{}, TooLarge
	}
	v, err := strictjson.DecodeSome(text, "", 8+s.Limits.Evidence)
	switch {
	case err != nil && fault.Of(err).Code == strictjson.CodeTooMany:
		return answer{}, WrongSchema
	case err != nil:
		return answer{}, NotJSON
	}
	if s.schema.Validate(v) != nil {
		return answer{}, WrongSchema
	}
	object, ok := v.(map[string]any)
	if !ok {
		return answer{}, WrongSchema
	}
	out := answer{}
	out.action, _ = object["action"].(string)
	out.reason, _ = object["reason"].(string)
	list, _ := object["evidence"].([]any)
	for _, id := range list {
		text, _ := id.(string)
		out.evidence = append(out.evidence, text)
	}
	if why := s.chosen(a, out.action); why != "" {
		return answer{}, why
	}
	for i, id := range out.evidence {
		if _, ok := a.evidence.shown[id]; !ok {
			return answer{}, UnknownRow
		}
		if slices.Contains(out.evidence[:i], id) {
			return answer{}, SameRowTwice
		}
	}
	if !isPlain(out.reason) {
		return answer{}, UnwantedText
	}
	if !s.grounds(a, out.evidence).carry(out.reason) {
		return answer{}, UnknownNumber
	}
	if a.repeats(out.reason) {
		return answer{}, RepeatedText
	}
	if _, withheld := a.withheld[out.action]; withheld {
		return out, needsStaleData
	}
	return out, ""
}

// chosen says what is wrong with an action that an answer names.
func (s *Spec) chosen(a *asked, action string) Reason {
	if _, declared := s.action(action); !declared {
		return UnknownAction
	}
	if _, withheld := a.withheld[action]; !withheld && !slices.Contains(a.offered, action) {
		return NotOffered
	}
	return ""
}
