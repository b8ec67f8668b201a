package message

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/template/parse"

	"patchbay/internal/fault"
)

// kind is what is known of a value before there is one.
type kind int

const (
	anything    kind = iota // a column of a record
	single                  // a text, a number, a time
	messageKind             // the dot of a template
	itemKind
	itemsKind
	rowKind
	textsKind
	listKind
)

type scope map[string]kind

// maxRanges bounds how deep ranges nest, and so how long a message can take.
const maxRanges = 2

var itemFields = map[string]kind{
	"Key": single, "Row": rowKind, "Was": rowKind, "Changed": textsKind, "Events": single, "First": single, "Last": single,
	"Change": single, "Source": single,
}

var fields = map[kind]map[string]kind{
	itemKind:    itemFields,
	messageKind: with(itemFields, map[string]kind{"Window": single, "Recipient": single, "Items": itemsKind}),
}

func with(a, b map[string]kind) map[string]kind {
	out := maps.Clone(a)
	maps.Copy(out, b)
	return out
}

// raw are names under which other systems let text pass as markup.
var raw = []string{"html", "safehtml", "htmlsafe", "safe", "raw", "unescape", "unescaped", "noescape", "js", "safejs", "url", "safeurl", "css", "safecss", "attr", "htmlattr", "srcset"}

func (c *compiler) nodes(list *parse.ListNode, dot kind, vars scope) {
	if list == nil {
		return
	}
	for _, n := range list.Nodes {
		c.node(n, dot, vars)
	}
}

func (c *compiler) node(n parse.Node, dot kind, vars scope) {
	switch n := n.(type) {
	case *parse.ActionNode:
		if of := c.pipe(n.Pipe, dot, vars); len(n.Pipe.Decl) == 0 {
			c.shown(of)
		}
	case *parse.IfNode:
		inner := maps.Clone(vars)
		c.pipe(n.Pipe, dot, inner)
		c.nodes(n.List, dot, maps.Clone(inner))
		c.nodes(n.ElseList, dot, maps.Clone(inner))
	case *parse.WithNode:
		inner := maps.Clone(vars)
		of := c.pipe(n.Pipe, dot, inner)
		c.nodes(n.List, of, maps.Clone(inner))
		c.nodes(n.ElseList, dot, maps.Clone(inner))
	case *parse.RangeNode:
		c.loop(n, dot, vars)
	case *parse.TemplateNode:
		c.add(n.Pos, "a template calls another one", "write its content here")
	}
}

// loop allows what has an end of its own: a number is something to range over in
// Go, and a record may say a very large one.
func (c *compiler) loop(n *parse.RangeNode, dot kind, vars scope) {
	inner := maps.Clone(vars)
	of := c.pipe(n.Pipe, dot, inner)
	element := anything
	switch of {
	case itemsKind:
		element = itemKind
	case textsKind:
		element = single
	case listKind:
	case anything, single, messageKind, itemKind, rowKind:
		c.add(n.Pipe.Pos, "range goes over something that is no list", "range over .Items, .Changed or list .Row.column")
	}
	for i, v := range n.Pipe.Decl {
		inner[v.Ident[0]] = single
		if i == len(n.Pipe.Decl)-1 {
			inner[v.Ident[0]] = element
		}
	}
	if c.ranges++; c.ranges > maxRanges {
		c.add(n.Pos, fmt.Sprintf("range is nested more than %d deep", maxRanges), "make the list flat in the flow")
	}
	c.nodes(n.List, element, maps.Clone(inner))
	c.ranges--
	c.nodes(n.ElseList, dot, maps.Clone(vars))
}

func (c *compiler) pipe(p *parse.PipeNode, dot kind, vars scope) kind {
	if p == nil {
		return anything
	}
	of := anything
	for i, command := range p.Cmds {
		if i > 0 {
			c.shown(of)
		}
		of = c.command(command, dot, vars, i > 0)
	}
	for _, v := range p.Decl {
		if before, known := vars[v.Ident[0]]; p.IsAssign && known && before != of {
			of = anything
		}
		vars[v.Ident[0]] = of
	}
	return of
}

// command gives the kind of what a command makes; its arguments are checked first.
func (c *compiler) command(command *parse.CommandNode, dot kind, vars scope, piped bool) kind {
	name, isCall := command.Args[0].(*parse.IdentifierNode)
	arguments := command.Args
	if isCall {
		arguments = arguments[1:]
		c.function(name)
	}
	before := len(c.problems)
	kinds := make([]kind, len(arguments))
	for i, a := range arguments {
		kinds[i] = c.operand(a, dot, vars)
	}
	if !isCall {
		if len(arguments) > 1 && len(c.problems) == before {
			c.add(command.Pos, "a value is followed by another one", "only functions take arguments")
		}
		return kinds[0]
	}
	named := c.column(name.Ident, arguments)
	for i, of := range kinds {
		if parts := slices.Contains(ofParts, name.Ident) && of == itemsKind; !parts && !(named && i == 0) {
			c.shown(of)
		}
	}
	first := anything
	if len(kinds) > 0 && !piped {
		first = kinds[0]
	}
	switch {
	case name.Ident == "list":
		return listKind
	case name.Ident == "index" && first == itemsKind && len(kinds) == 2:
		return itemKind
	case name.Ident == "slice" && first == itemsKind:
		return itemsKind
	}
	return anything
}

func (c *compiler) function(n *parse.IdentifierNode) {
	switch known := known(); {
	case slices.Contains(known, n.Ident):
	case slices.Contains(raw, strings.ToLower(n.Ident)):
		c.add(n.Pos, fmt.Sprintf("%s would let a value pass as markup", n.Ident), "leave it out: values are escaped where they stand, and markup belongs into the template")
	default:
		fix := "there are " + strings.Join(known, ", ")
		if near := fault.Closest(n.Ident, known); near != "" {
			fix = fmt.Sprintf("did you mean %q?", near)
		}
		c.add(n.Pos, fmt.Sprintf("there is no function %q", n.Ident), fix)
	}
}

// ofParts are functions that take of a list no more than its entries.
var ofParts = []string{"index", "slice", "len"}

// shown notes a record, or what holds one, that is written or handed on as one value.
func (c *compiler) shown(of kind) {
	switch of {
	case messageKind, itemKind, itemsKind, rowKind:
		c.whole = true
	case anything, single, textsKind, listKind:
	}
}

// column notes the column that a function is asked for by name, and reports whether
// it is.
func (c *compiler) column(function string, arguments []parse.Node) bool {
	if function != "was" && function != "optional" && function != "changed" || len(arguments) != 2 {
		return false
	}
	name, ok := arguments[1].(*parse.StringNode)
	if ok {
		c.use(name.Pos, name.Text, function == "optional")
	}
	return ok
}

func (c *compiler) use(at parse.Pos, column string, optional bool) {
	line, col := c.place(at)
	c.uses = append(c.uses, Use{Part: c.part, Line: line, Col: col, Column: column, Optional: optional})
}

func (c *compiler) operand(n parse.Node, dot kind, vars scope) kind {
	switch n := n.(type) {
	case *parse.DotNode:
		return dot
	case *parse.FieldNode:
		return c.chain(n.Pos, dot, n.Ident)
	case *parse.VariableNode:
		return c.chain(n.Pos, vars[n.Ident[0]], n.Ident[1:])
	case *parse.ChainNode:
		return c.chain(n.Pos, c.operand(n.Node, dot, vars), n.Field)
	case *parse.PipeNode:
		return c.pipe(n, dot, vars)
	case *parse.IdentifierNode:
		c.function(n)
		return anything
	}
	return single
}

// chain follows names from a value of a kind.
func (c *compiler) chain(at parse.Pos, of kind, names []string) kind {
	for _, name := range names {
		switch of {
		case messageKind, itemKind:
			next, ok := fields[of][name]
			if !ok {
				c.unknown(at, of, name)
				return anything
			}
			of = next
		case rowKind:
			c.use(at, name, false)
			of = anything
		case anything:
		case single, itemsKind, textsKind, listKind:
			c.add(at, fmt.Sprintf("there is no %s in a value of this kind", name), "of a list, range over it; a time is written by {{date \"02.01.2006\" .Last}}")
			return anything
		}
	}
	return of
}

func (c *compiler) unknown(at parse.Pos, of kind, name string) {
	known := slices.Sorted(maps.Keys(fields[of]))
	fix := "there are " + strings.Join(known, ", ")
	if near := fault.Closest(name, known); near != "" {
		fix = fmt.Sprintf("did you mean .%s?", near)
	} else if name != "" && strings.ToLower(name) == name {
		fix = fmt.Sprintf("a column of the record is .Row.%s", name)
	}
	c.add(at, fmt.Sprintf("a message has no variable .%s", name), fix)
}
