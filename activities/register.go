package activities

import (
	"go.temporal.io/sdk/worker"

	"patchbay/internal/contract"
)

// Set is every activity of the main queue.
type Set struct {
	Reader *Reader
	Writer *Writer
	Closer *Closer
}

// Register registers the set under the names of package contract.
func (s Set) Register(r worker.ActivityRegistry) {
	contract.Read.Register(r, s.Reader.Read)
	contract.Write.Register(r, s.Writer.Write)
	contract.CloseRun.Register(r, s.Closer.Close)
}
