package flow

type (
	// Map is how flows, the systems behind connections, their tables and calls hang
	// together. Its JSON is an interface.
	Map struct {
		Nodes []MapNode `json:"nodes"` // by kind and name
		Edges []MapEdge `json:"edges"` // by from, to and how
	}

	// MapNode is a flow, a connection, a table or a business event. ID is "flow:NAME",
	// "connection:NAME", "table:CONNECTION.TABLE" or "event:NAME".
	MapNode struct {
		ID      string  `json:"id"`
		Kind    string  `json:"kind"` // flow, connection, table, event
		Name    string  `json:"name"`
		Pattern Pattern `json:"pattern,omitempty"` // of a flow
		Summary string  `json:"summary,omitempty"` // of a flow
		System  string  `json:"system,omitempty"`  // of a connection: its connector
		Region  string  `json:"region,omitempty"`  // of a connection
		Path    string  `json:"path,omitempty"`    // of a table: what the system calls it
	}

	// MapEdge leads the way that data goes: from a table to the flow that reads it, from a
	// flow to the table that it writes, from a flow to the one that it calls. An edge of
	// how "has" leads from a connection to its table.
	MapEdge struct {
		From string `json:"from"`
		To   string `json:"to"`
		How  string `json:"how"` // has, reads, reacts, writes, sends, asks, shares, calls, accepts, emits, awaits
	}

	// Impact is every place of every flow that a change of one thing touches. Its JSON is an
	// interface.
	Impact struct {
		Item     string         `json:"item"`     // as it was asked for
		Means    []string       `json:"means"`    // what it was taken for, in words
		Declared []Place        `json:"declared"` // where connections.yaml speaks of it
		Flows    []ImpactedFlow `json:"flows"`    // by name
		// Reaches are the columns that its values get to by these flows and those after
		// them, and the flow that brings them there.
		Reaches []Reach `json:"reaches"`
	}

	// ImpactedFlow is one flow that a change touches, and where.
	ImpactedFlow struct {
		Flow    string  `json:"flow"`
		Pattern Pattern `json:"pattern"`
		File    string  `json:"file,omitempty"`
		Steps   []Use   `json:"steps"` // in the order of their places
	}

	// Use is one place of a flow that names a connection, a table, a column or another flow.
	// File is empty, and Line 0, where only the plan is known.
	Use struct {
		Item string `json:"item"` // CONNECTION, CONNECTION.TABLE, CONNECTION.TABLE.COLUMN, a flow that is called, or a business event or its field
		Step string `json:"step"` // "gather.orders.select", "map.msx_value", "steps.reserve.with.Quantity"
		How  string `json:"how"`
		Place
	}

	// Place is where something stands in a file; lines and columns count from 1.
	Place struct {
		File string `json:"file,omitempty"`
		Line int    `json:"line,omitempty"`
		Col  int    `json:"col,omitempty"`
	}

	// Reach is a column that a value gets to.
	Reach struct {
		Item string `json:"item"`
		Flow string `json:"flow"`
	}
)
