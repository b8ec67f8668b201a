package contract

// The event pattern: what a window came to is mapped, or made a message of, and
// delivered. It shares the shapes and the rest of the activities of the instant
// pattern; nobody waits for an answer, so reading has all the time a delivery has.
var (
	Event   = DeclareWorkflow[InstantInput, InstantResult]("patchbay.event.v1", Main)
	Prepare = DeclareActivity[Batch, ReadResult]("event.prepare.v1", Delivery, Main)
)
