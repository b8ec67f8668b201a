package httpapi

// runPaths are the operations of a connector that every flow shares.
func runPaths() map[string]swaggerPath {
	id := swaggerParameter{
		Name: "id", In: "path", Required: true, Type: "string", Summary: "Run ID", Description: "The run_id that starting gave back.",
	}
	return map[string]swaggerPath{
		"/v1/runs/{id}": {Get: &swaggerOperation{
			ID: "GetRun", Summary: "Get a run", Visibility: "important",
			Description: "Everything about one run: its status, its result, its effects and its steps.",
			Parameters: []swaggerParameter{id, {
				Name: "wait", In: "query", Type: "string", Enum: []string{waitAnswer, waitFinal}, Summary: "Wait", Visibility: "advanced",
				Description: "Wait for the answer, or for the end. Empty: no waiting.",
			}},
			Responses: responses("Run", map[string]string{
				"200": "The run", "202": "The run; what was waited for is not there yet. Ask the Location again",
			}),
		}},
		"/v1/runs/{id}/progress": {Get: &swaggerOperation{
			ID: "GetProgress", Summary: "Get the progress of a run", Visibility: "important",
			Description: "A run at a glance, for a timer that asks every second or two until final is true.",
			Parameters:  []swaggerParameter{id},
			Responses:   responses("Progress", map[string]string{"200": "Where the run stands"}),
		}},
		"/v1/runs/{id}/rows": {Get: &swaggerOperation{
			ID: "GetRows", Summary: "Get the rows of a run", Visibility: "important",
			Description: "The rows of the result as text, for ParseJSON.",
			Parameters:  []swaggerParameter{id},
			Responses:   responses("Rows", map[string]string{"200": "The rows; an empty list while there are none"}),
		}},
		"/v1/runs/{id}/cancel": {Post: &swaggerOperation{
			ID: "CancelRun", Summary: "Cancel a run", Visibility: "important",
			Description: "No effect begins after it is confirmed. The certificate says what was done, what never began and what is in doubt.",
			Parameters:  []swaggerParameter{id},
			Responses: responses("Cancelled", map[string]string{
				"200": "The certificate",
				"202": "The run: sealed, while a write that had begun is not settled. Location answers 202 until it is, then 200 with the run",
			}),
		}},
	}
}

// responses are those of one operation, all of one shape: a host takes the shape
// of its data from the first success it finds.
func responses(definition string, descriptions map[string]string) map[string]swaggerResponse {
	out := map[string]swaggerResponse{"default": {Description: "A problem; its code says which", Schema: ref("Problem")}}
	for status, description := range descriptions {
		out[status] = swaggerResponse{Description: description, Schema: ref(definition)}
	}
	return out
}

// definitions are the shapes of the answers.
func definitions() map[string]*swaggerSchema {
	effects := func() *swaggerSchema {
		return list(object(
			is("step", "string", "Step", "The step of the flow that writes"),
			is("target", "string", "Target", "The row it writes, by system, table and key"),
			is("state", "string", "State", "intent, attempt, confirmed, in_doubt, settled or refused"),
		))
	}
	result := object(
		is("count", "int", "Rows", "How many rows there are"),
		holds("rows", list(&swaggerSchema{Type: "object"}), "Row List", "The rows; their columns are the flow's"),
	)
	result.Nullable = true
	return map[string]*swaggerSchema{
		"Run": object(
			is("run_id", "string", "Run ID", "Follow, read and cancel the run by it"),
			is("flow", "string", "Flow", "Name of the flow"),
			is("status", "string", "Status", "accepted, running, parked, completed, failed or cancelled"),
			holds("result", result, "Result", "The answer; null until there is one"),
			holds("effects", effects(), "Effects", "Writes to other systems"),
			holds("problem", object(
				is("code", "string", "Code", "What failed, for a program"),
				is("detail", "string", "Detail", "What failed, for a person"),
				is("retry", "boolean", "Retry", "Pressing again may help"),
			), "Problem", "Why the run failed; absent otherwise"),
			holds("progress", list(object(
				is("name", "string", "Step", "accepted, reading, answered, writing or closed"),
				is("at", "date-time", "At", "When it got there"),
				is("note", "string", "Note", "In words"),
			)), "Steps", "The steps so far"),
			is("waiting", "string", "Waiting", "What it waits for; absent when it does not"),
			is("cancelling", "boolean", "Cancelling", "Sealed; a write that had begun is not settled yet"),
			is("accepted_at", "date-time", "Accepted At", "When it was accepted"),
			is("answered_at", "date-time", "Answered At", "When it was answered; absent before"),
			is("closed_at", "date-time", "Closed At", "When it ended; absent before"),
			is("deadline_at", "date-time", "Deadline At", "Until when it has to be answered"),
		),
		"Progress": object(
			is("run_id", "string", "Run ID", "The run"),
			is("flow", "string", "Flow", "Name of the flow"),
			is("status", "string", "Status", "accepted, running, parked, completed, failed or cancelled"),
			is("step", "string", "Step", "The last step it reached"),
			is("percent", "int", "Percent", "For a bar; it counts steps, not time"),
			is("message", "string", "Message", "Where it stands, in words"),
			is("answered", "boolean", "Answered", "There is a result, or there never will be"),
			is("final", "boolean", "Final", "Nothing will change any more"),
			is("cancelling", "boolean", "Cancelling", "Sealed; a write that had begun is not settled yet"),
			is("count", "int", "Rows", "Rows of the result"),
			is("in_doubt", "int", "In Doubt", "Writes of which nobody knows whether they took effect"),
			is("code", "string", "Code", "Code of the problem of a failed run; else empty"),
			is("retry", "boolean", "Retry", "Failed, and pressing again may help"),
			is("elapsed_seconds", "number", "Elapsed Seconds", "Since it was accepted, until it ended"),
		),
		"Rows": object(
			is("run_id", "string", "Run ID", "The run"),
			is("answered", "boolean", "Answered", "false: there is no result yet"),
			is("count", "int", "Rows", "How many rows there are"),
			is("rows_json", "string", "Rows As Text", "A JSON array of objects"),
		),
		"Cancelled": object(
			is("run_id", "string", "Run ID", "The run"),
			is("status", "string", "Status", "cancelled, or how the run had ended before"),
			is("at", "date-time", "At", "When the certificate was made; absent where the answer is the run"),
			holds("done", effects(), "Done", "Writes that took effect; absent where the answer is the run"),
			holds("undone", effects(), "Undone", "Writes that never began; absent where the answer is the run"),
			holds("in_doubt", effects(), "In Doubt", "Writes of which nobody knows; absent where the answer is the run"),
			is("cancelling", "boolean", "Cancelling", "true: a write that had begun is not settled yet"),
			holds("effects", effects(), "Effects", "All writes, where the answer is the run"),
		),
		"Problem": object(
			is("title", "string", "Title", "The class of the problem"),
			is("status", "int", "Status", "The HTTP status"),
			is("code", "string", "Code", "What is wrong, for a program"),
			is("detail", "string", "Detail", "What is wrong, and what to do"),
			is("retry", "boolean", "Retry", "The same request may succeed later"),
			is("request_id", "string", "Request ID", "Leads to it in the log"),
		),
	}
}
