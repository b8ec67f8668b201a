package check

import (
	"cmp"
	"slices"

	"patchbay/internal/flow"
)

// Map draws what hangs together: every flow, every connection that one names, and the
// tables that they have of it, and the business events that they tell each other of.
func (x *Index) Map() flow.Map {
	nodes, edges := map[string]flow.MapNode{}, map[flow.MapEdge]bool{}
	for i, f := range x.report.Flows {
		self := "flow:" + f.Plan.Flow
		nodes[self] = flow.MapNode{ID: self, Kind: "flow", Name: f.Plan.Flow, Pattern: f.Plan.Pattern, Summary: f.Plan.Summary}
		for _, u := range x.uses[i] {
			switch {
			case u.called != "":
				edges[flow.MapEdge{From: self, To: "flow:" + u.called, How: string(Calls)}] = true
			case u.topic != "" && u.field == "":
				event := "event:" + u.topic
				nodes[event] = flow.MapNode{ID: event, Kind: "event", Name: u.topic}
				if u.how == Emits {
					edges[flow.MapEdge{From: self, To: event, How: string(u.how)}] = true
				} else {
					edges[flow.MapEdge{From: event, To: self, How: string(u.how)}] = true
				}
			case u.table != "" && u.column == "" && u.path == "" && !u.whole:
				x.drawn(nodes, edges, u.use)
				from, to := "table:"+u.connection+"."+u.table, self
				if u.written || u.how == Sends || u.how == Asks {
					from, to = to, from
				}
				edges[flow.MapEdge{From: from, To: to, How: string(u.how)}] = true
				if u.how == Shares { // it reads as much as it writes
					edges[flow.MapEdge{From: to, To: from, How: string(u.how)}] = true
				}
			}
		}
	}
	out := flow.Map{Nodes: []flow.MapNode{}, Edges: []flow.MapEdge{}}
	for _, n := range nodes {
		out.Nodes = append(out.Nodes, n)
	}
	for e := range edges {
		out.Edges = append(out.Edges, e)
	}
	slices.SortFunc(out.Nodes, func(a, b flow.MapNode) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID)) })
	slices.SortFunc(out.Edges, func(a, b flow.MapEdge) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), cmp.Compare(a.How, b.How))
	})
	return out
}

// drawn adds a table and its connection.
func (x *Index) drawn(nodes map[string]flow.MapNode, edges map[flow.MapEdge]bool, u use) {
	c := x.residency.connections[u.connection]
	connection, table := "connection:"+u.connection, "table:"+u.connection+"."+u.table
	nodes[connection] = flow.MapNode{ID: connection, Kind: "connection", Name: u.connection, System: c.System, Region: x.residency.regions[x.residency.system(u.connection)]}
	nodes[table] = flow.MapNode{ID: table, Kind: "table", Name: u.connection + "." + u.table, Path: c.Tables[u.table].Path}
	edges[flow.MapEdge{From: connection, To: table, How: "has"}] = true
}
