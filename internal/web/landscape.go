package web

import (
	"fmt"
	"html"
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// The map has what is read on the left, flows in the middle and what is written on the
// right, each a box on a row of its own; tables stand below their connection.
const (
	landWidth = 1000
	landBox   = 250
	landRow   = 30
	landHigh  = 24
	landName  = 33 // characters that a box holds
	// businessEvents is where those stand that flows tell each other of.
	businessEvents = "Business events"
	landTurns      = 4 // how often boxes are put near what they are joined with
)

type (
	// landscapePage is the map, and what a change of one thing touches.
	landscapePage struct {
		Item    string // that was asked for
		Flow    string // whose surroundings are drawn alone
		Unknown string // why nothing is known of the item
		Impact  *flow.Impact
		Places  int
		Map     template.HTML
		Flows   []neighbours
	}

	// neighbours are what one flow is joined with, in words.
	neighbours struct {
		flow.MapNode
		From, To []neighbour
	}

	neighbour struct{ How, Name, Link string }

	// box is a node where it is drawn.
	box struct {
		flow.MapNode
		x, y int
	}

	// drawing places nodes; a table may stand on both sides.
	drawing struct {
		nodes       map[string]flow.MapNode
		edges       []flow.MapEdge
		flows       []string
		left, right []string
		middle      map[string]float64 // of each box, by side and ID
	}
)

// landscape is the page of the map: all of it, the surroundings of one flow, or what a
// change touches.
func (c *console) landscape(w http.ResponseWriter, r *http.Request) error {
	if c.Landscape == nil {
		return c.none()
	}
	if err := c.operating(r, "the map"); err != nil {
		return err
	}
	page := landscapePage{Item: strings.TrimSpace(r.URL.Query().Get("item")), Flow: r.URL.Query().Get("flow")}
	m, err := c.Landscape.Map(r.Context())
	if err != nil {
		return err
	}
	only := map[string]bool{}
	if page.Item != "" {
		found, err := c.Landscape.Impact(r.Context(), page.Item)
		switch {
		case fault.Is(err, fault.Invalid):
			page.Unknown = sentence(fault.Of(err).Text)
		case err != nil:
			return err
		default:
			page.Impact = &found
			for _, f := range found.Flows {
				only[f.Flow] = true
				page.Places += len(f.Steps)
			}
		}
	}
	if page.Flow != "" {
		only = map[string]bool{page.Flow: true}
	}
	d := newDrawing(m, only, page.Impact != nil || page.Flow != "")
	page.Map, page.Flows = d.svg(), d.words()
	c.render(w, r, http.StatusOK, "map", frame{Title: "Map", Nav: "map", Page: page})
	return nil
}

// newDrawing takes the flows that are named, or all, with what they are joined with.
func newDrawing(m flow.Map, only map[string]bool, chosen bool) *drawing {
	d := &drawing{nodes: map[string]flow.MapNode{"connection:" + businessEvents: {Kind: "connection", Name: businessEvents}}, middle: map[string]float64{}}
	for _, n := range m.Nodes {
		d.nodes[n.ID] = n
		if n.Kind == "flow" && (!chosen || only[n.Name]) {
			d.flows = append(d.flows, n.ID)
		}
	}
	own := slices.Clone(d.flows)
	drawn := func(id string) bool { return slices.Contains(own, id) }
	for _, e := range m.Edges {
		switch {
		case e.How == "has" || !drawn(e.From) && !drawn(e.To):
		case e.How == "calls": // whoever calls, and who is called, stand among the flows
			for _, id := range []string{e.From, e.To} {
				if d.nodes[id].ID != "" && !slices.Contains(d.flows, id) {
					d.flows = append(d.flows, id)
				}
			}
			d.edges = append(d.edges, e)
		case drawn(e.From):
			d.right = append(d.right, e.To)
			d.edges = append(d.edges, e)
		default:
			d.left = append(d.left, e.From)
			d.edges = append(d.edges, e)
		}
	}
	d.left, d.right = unique(d.left), unique(d.right)
	d.settle()
	return d
}

func unique(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}

// settle puts boxes near those that they are joined with, tables of one connection together.
func (d *drawing) settle() {
	for range landTurns {
		for i, id := range d.flows {
			d.middle["flow "+id] = float64(i) / float64(len(d.flows))
		}
		d.left, d.right = d.sided("left", d.left), d.sided("right", d.right)
		mean := map[string]float64{}
		for _, id := range d.flows {
			mean[id] = d.mean(func(e flow.MapEdge) (string, bool) {
				if e.From == id {
					return "right " + e.To, true
				}
				return "left " + e.From, e.To == id
			}, d.middle["flow "+id])
		}
		slices.SortStableFunc(d.flows, func(a, b string) int { return compare(mean[a], mean[b]) })
	}
}

func (d *drawing) sided(side string, list []string) []string {
	mean, group, count := map[string]float64{}, map[string]float64{}, map[string]float64{}
	for _, id := range list {
		mean[id] = d.mean(func(e flow.MapEdge) (string, bool) {
			if side == "left" {
				return "flow " + e.To, e.From == id
			}
			return "flow " + e.From, e.To == id
		}, 0)
		group[d.connection(id)] += mean[id]
		count[d.connection(id)]++
	}
	slices.SortStableFunc(list, func(a, b string) int {
		x, y := d.connection(a), d.connection(b)
		if x != y {
			if by := compare(group[x]/count[x], group[y]/count[y]); by != 0 {
				return by
			}
			return strings.Compare(x, y)
		}
		return compare(mean[a], mean[b])
	})
	for i, id := range list {
		d.middle[side+" "+id] = float64(i) / float64(len(list))
	}
	return list
}

// mean is where the other ends of edges are, on average.
func (d *drawing) mean(end func(flow.MapEdge) (string, bool), otherwise float64) float64 {
	sum, n := 0.0, 0.0
	for _, e := range d.edges {
		if at, is := end(e); is {
			if where, known := d.middle[at]; known {
				sum, n = sum+where, n+1
			}
		}
	}
	if n == 0 {
		return otherwise
	}
	return sum / n
}

func compare(a, b float64) int {
	switch {
	case a < b-1e-9:
		return -1
	case a > b+1e-9:
		return 1
	}
	return 0
}

func (d *drawing) connection(table string) string {
	if d.nodes[table].Kind == "event" {
		return businessEvents
	}
	name, _, _ := strings.Cut(d.nodes[table].Name, ".")
	return name
}

// svg draws it; nothing where there is no flow.
func (d *drawing) svg() template.HTML {
	if len(d.flows) == 0 {
		return ""
	}
	boxes := map[string]box{}
	column := func(side string, list []string, x int, grouped bool) (all []box) {
		y, last := 0, ""
		for _, id := range list {
			if c := d.connection(id); grouped && c != last {
				if last != "" {
					y += landRow / 3
				}
				all = append(all, box{d.nodes["connection:"+c], x, y})
				y, last = y+landRow-4, c
			}
			b := box{d.nodes[id], x, y}
			boxes[side+" "+id] = b
			all = append(all, b)
			y += landRow
		}
		return all
	}
	left, flows, right := column("left", d.left, 0, true), column("flow", d.flows, (landWidth-landBox)/2, false), column("right", d.right, landWidth-landBox, true)
	high := landRow
	for _, list := range [][]box{left, flows, right} {
		if len(list) > 0 {
			high = max(high, list[len(list)-1].y+landRow)
		}
	}
	for side, list := range map[string][]box{"left": left, "right": right} { // in the middle of the height
		if len(list) == 0 {
			continue
		}
		down := (high - list[len(list)-1].y - landRow) / 2
		for i := range list {
			list[i].y += down
			boxes[side+" "+list[i].ID] = list[i]
		}
	}
	for i := range flows { // over the whole height
		flows[i].y = i*high/len(flows) + (high/len(flows)-landHigh)/2
		boxes["flow "+flows[i].ID] = flows[i]
	}
	var s strings.Builder
	fmt.Fprintf(&s, `<svg class="land" viewBox="0 0 %d %d" width="%d" height="%d" role="group" aria-label="Flows, and the tables that they read and write">`, landWidth, high, landWidth, high)
	for _, e := range d.edges {
		from, to := boxes["left "+e.From], boxes["flow "+e.To]
		switch {
		case strings.HasPrefix(e.From, "flow:") && strings.HasPrefix(e.To, "flow:"):
			from, to = boxes["flow "+e.From], boxes["flow "+e.To]
			fmt.Fprintf(&s, `<path class="edge calls" d="M%d %dC%d %d %d %d %d %d"/>`, from.x+landBox, from.y+landHigh/2, from.x+landBox+60, from.y+landHigh/2, to.x+landBox+60, to.y+landHigh/2, to.x+landBox, to.y+landHigh/2)
			continue
		case strings.HasPrefix(e.From, "flow:"):
			from, to = boxes["flow "+e.From], boxes["right "+e.To]
		}
		x, y, u, v := from.x+landBox, from.y+landHigh/2, to.x, to.y+landHigh/2
		fmt.Fprintf(&s, `<path class="edge %s" d="M%d %dC%d %d %d %d %d %d"/>`, html.EscapeString(e.How), x, y, (x+u)/2, y, (x+u)/2, v, u, v)
	}
	for _, b := range slices.Concat(left, flows, right) {
		d.draw(&s, b)
	}
	s.WriteString(`</svg>`)
	return template.HTML(s.String()) // of our own drawing; names are escaped
}

func (d *drawing) draw(s *strings.Builder, b box) {
	name, title := b.Name, b.Name
	switch b.Kind {
	case "table":
		_, name, _ = strings.Cut(b.Name, ".")
	case "connection":
		if b.ID == "" {
			break
		}
		title += ", " + system(b.System)
	case "flow":
		title += ", " + string(b.Pattern)
	}
	fmt.Fprintf(s, `<a class="%s" href="%s"><title>%s</title>`, b.Kind, html.EscapeString(linkOf(b.MapNode)), html.EscapeString(title))
	if b.Kind == "connection" {
		fmt.Fprintf(s, `<text x="%d" y="%d">%s</text></a>`, b.x+2, b.y+17, html.EscapeString(clip(name, landName)))
		return
	}
	fmt.Fprintf(s, `<rect x="%d" y="%d" width="%d" height="%d" rx="6"/><text x="%d" y="%d">%s</text></a>`, b.x+1, b.y, landBox-2, landHigh, b.x+10, b.y+16, html.EscapeString(clip(name, landName)))
}

// linkOf leads to the page of a flow, or to what a change of a table touches.
func linkOf(n flow.MapNode) string {
	if n.ID == "" {
		return "/dead/events#business"
	}
	if n.Kind == "flow" {
		return "/flows/" + url.PathEscape(n.Name)
	}
	return "/map?item=" + url.QueryEscape(n.Name)
}

// verb is how an edge reads in a sentence.
func verb(how string) string {
	switch how {
	case "reacts":
		return "reacts to"
	case "sends":
		return "sends by"
	}
	return how
}

// words say of each flow what it is joined with.
func (d *drawing) words() []neighbours {
	all := map[string]*neighbours{}
	for _, id := range d.flows {
		all[id] = &neighbours{MapNode: d.nodes[id]}
	}
	for _, e := range d.edges {
		if n := all[e.From]; n != nil {
			n.To = append(n.To, neighbour{verb(e.How), d.nodes[e.To].Name, linkOf(d.nodes[e.To])})
		}
		if n := all[e.To]; n != nil && !strings.HasPrefix(e.From, "flow:") {
			n.From = append(n.From, neighbour{verb(e.How), d.nodes[e.From].Name, linkOf(d.nodes[e.From])})
		}
	}
	out := make([]neighbours, 0, len(all))
	for _, id := range slices.Sorted(maps.Keys(all)) {
		out = append(out, *all[id])
	}
	return out
}
