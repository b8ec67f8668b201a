package flow

import (
	"slices"
	"strings"
)

// Chain is what led to an event: the flows whose writes followed one another, the
// first cause first. The zero value is a cause from outside.
//
// A write of an event flow carries its chain to the target as a tag, which the target
// gives back with the event that the write causes: "patchbay:FLOW>FLOW#DIGEST".
type Chain struct {
	Flows  []string
	Digest string // of the values that the last of them wrote, hexadecimal
}

const (
	// ChainLink stands between the flows of a chain.
	ChainLink   = ">"
	chainPrefix = "patchbay:"
	// MostHops is how long a chain may get before it is cut, whoever is in it.
	MostHops = 8
)

// ParseChain reads a tag; any other text is a cause from outside.
func ParseChain(tag string) Chain {
	rest, ours := strings.CutPrefix(tag, chainPrefix)
	if !ours || rest == "" {
		return Chain{}
	}
	names, digest, _ := strings.Cut(rest, "#")
	return Chain{Flows: strings.Split(names, ChainLink), Digest: digest}
}

// Cuts reports whether an event with this chain must not start the flow: its own
// write came back, or the chain is too long.
func (c Chain) Cuts(name string) bool {
	return slices.Contains(c.Flows, name) || len(c.Flows) >= MostHops
}

// Then is the tag of a write by the flow, which continues the chain.
func (c Chain) Then(name, digest string) string {
	return chainPrefix + strings.Join(append(slices.Clone(c.Flows), name), ChainLink) + "#" + digest
}
