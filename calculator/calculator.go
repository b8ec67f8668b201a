package calculator

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"time"

	"patchbay/internal/fault"
	"patchbay/internal/strictjson"
)

type (
	// Run is what a calculator may use besides its input.
	Run struct {
		// Seed is where all that looks random comes from.
		Seed uint64
		// Progress tells how much is done, of how much. It is never nil inside a calculator.
		Progress func(done, total int)
		// Ended, for those who host calculators, is called when the function has ended: of
		// one that was left behind (calculator.runaway) late, or never. It may be nil.
		Ended func()
	}

	// Calculator is a registered computation. Make it with New; the zero value is none.
	Calculator struct {
		name, version, model string
		contract             Contract
		compute              func(ctx context.Context, input []byte, run Run) (any, error)
	}

	// Option is more that New is told.
	Option func(*Calculator)
)

var named = regexp.MustCompile(`^[a-z][a-z0-9.-]{0,63}$`)

// Model names the model that a calculator computes with: the digest of a scorecard, say. A
// capsule holds it.
func Model(digest string) Option { return func(c *Calculator) { c.model = digest } }

// New makes a calculator of a function. Name and version are of small letters, digits, dots
// and dashes, and begin with a letter: "acme.affordability", "v2". In and Out are structs, whose shapes are the
// contract: another shape is another version. New panics when they cannot be a contract, as
// regexp.MustCompile does: it is called while a program starts.
func New[In, Out any](name, version string, compute func(context.Context, In, Run) (Out, error), options ...Option) Calculator {
	c := Calculator{name: name, version: version}
	if !named.MatchString(name) || !named.MatchString(version) {
		panic(fmt.Sprintf("calculator %q %q: a name and a version are of small letters, digits, dots and dashes", name, version))
	}
	in, out := reflect.TypeFor[In](), reflect.TypeFor[Out]()
	for _, t := range []reflect.Type{in, out} {
		if t.Kind() != reflect.Struct {
			panic(fmt.Sprintf("calculator %s %s: %s is no struct", name, version, t))
		}
	}
	c.contract = contractOf(name, version, in, out)
	for _, option := range options {
		option(&c)
	}
	c.compute = func(ctx context.Context, input []byte, run Run) (any, error) {
		tree, err := strictjson.Decode(input, "input")
		if err != nil {
			return nil, err
		}
		if fields := missing(nil, in, tree, "input"); len(fields) > 0 {
			return nil, fault.Invalidf("calculator.missing", "%s is missing", fields[0].Path).With(fields...)
		}
		var given In
		if err := strictjson.Unmarshal(input, &given); err != nil {
			return nil, err
		}
		return compute(ctx, given, run)
	}
	return c
}

// Name is the calculator's.
func (c Calculator) Name() string { return c.name }

// Version is the calculator's.
func (c Calculator) Version() string { return c.version }

// Model is the digest of what it computes with, or "".
func (c Calculator) Model() string { return c.model }

// Contract is the shape of what goes in and comes out.
func (c Calculator) Contract() Contract { return c.contract }

// Codes of functions that did not end in their time: because they were told to stop, and at all.
const (
	OverdueCode = "calculator.overdue"
	RunawayCode = "calculator.runaway"
)

// patience is how long a function may take to hear that its context has ended.
const patience = time.Second

// Compute runs the calculator on JSON and gives canonical JSON. Its errors are faults: those
// of the calculator and of its input as they are, calculator.panicked, calculator.not-finite
// when the output is no JSON, calculator.overdue when ctx ended first, calculator.runaway when
// the function did not hear of that within a second. It is then left to itself: only the end of
// its process ends a function that does not look at its context.
func (c Calculator) Compute(ctx context.Context, input []byte, run Run) ([]byte, error) {
	if run.Progress == nil {
		run.Progress = func(int, int) {}
	}
	if run.Ended == nil {
		run.Ended = func() {}
	}
	type answer struct {
		output []byte
		err    error
	}
	done := make(chan answer, 1)
	go func() {
		var a answer
		defer func() {
			if recover() != nil { // its text may be anybody's data
				a = answer{err: c.fault("calculator.panicked", "panicked")}
			}
			run.Ended()
			done <- a
		}()
		out, err := c.compute(ctx, input, run)
		if err == nil {
			if a.output, err = canonical(out); err != nil {
				err = c.fault("calculator.not-finite", "gave what is no JSON: NaN or an infinite number")
			}
		}
		a.err = err
	}()
	var a answer
	select {
	case a = <-done:
	case <-ctx.Done():
		select {
		case a = <-done:
		case <-time.After(patience):
			return nil, fault.New(fault.Bug, RunawayCode, c.name+" "+c.version+" did not end in its time and does not stop", context.Cause(ctx))
		}
	}
	var f *fault.Fault
	switch {
	case a.err == nil, errors.As(a.err, &f):
		return a.output, a.err
	case ctx.Err() != nil:
		return nil, fault.New(fault.Unavailable, OverdueCode, c.name+" "+c.version+" did not end in its time", context.Cause(ctx))
	}
	return nil, fault.New(fault.Bug, "calculator.failed", c.name+" "+c.version+" failed", a.err)
}

func (c Calculator) fault(code, what string) error {
	return fault.New(fault.Bug, code, c.name+" "+c.version+" "+what, nil)
}
