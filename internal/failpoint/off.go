//go:build !failpoints

package failpoint

// Built reports whether this program has failpoints.
const Built = false

// Point is a durable action that is about to happen.
type Point struct{}

// At is an action of a package or a system.
func At(_, _ string) Point { return Point{} }

// Caller is the action of the function that called the function that calls it.
func Caller() Point { return Point{} }

// Before is called when the action is about to happen.
func (Point) Before() {}

// Lost reports, of an action that took effect, that its answer is to be taken for
// lost.
func (Point) Lost() bool { return false }

// After is called when the action has taken effect and that is known.
func (Point) After() {}
