package workflows

import (
	"bytes"
	"fmt"

	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"patchbay/internal/contract"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// throughTheDoor carries the press of a signal: accept it as the API would, then
// read, answer and write as for any press. The query gives the answer from the
// read on. A workflow ID stands for one press: equal further signals change
// nothing, others are rejected, and none is left unread.
func throughTheDoor(ctx workflow.Context) (contract.InstantResult, error) {
	d := &door{signals: workflow.GetSignalChannel(ctx, contract.PressSignalName), answer: contract.DoorAnswer{Status: flow.Accepted}}
	if err := workflow.SetQueryHandler(ctx, contract.AnswerQueryName, func() (contract.DoorAnswer, error) { return d.answer, nil }); err != nil {
		return d.press.result, err
	}
	err := d.wait(ctx)
	if err == nil {
		err = d.accept(ctx)
	}
	switch {
	case err != nil:
	case d.run.Replayed:
		err = d.repeat(ctx)
	default:
		err = d.carry(ctx)
	}
	d.close(ctx, err)
	return d.press.result, err
}

// door is the state of an Instant workflow that came by the second door.
type door struct {
	signals workflow.ReceiveChannel
	first   contract.DoorSignal
	run     contract.DoorAccepted
	press   press
	answer  contract.DoorAnswer
}

// wait takes the first signal. It came with the start, unless somebody has started
// the workflow by itself.
func (d *door) wait(ctx workflow.Context) error {
	var raw converter.RawValue // whatever it is: a payload that the SDK cannot decode it would drop
	if !d.signals.ReceiveAsync(&raw) {
		if got, _ := d.signals.ReceiveWithTimeout(ctx, contract.DoorPatience, &raw); !got {
			if ctx.Err() != nil {
				return temporal.NewCanceledError()
			}
			return contract.ToTemporal(fault.Invalidf("door.no_signal",
				"started without an input, and no signal %s came within %s", contract.PressSignalName, contract.DoorPatience))
		}
	}
	d.first.Payload = raw.Payload().GetData()
	if len(d.first.Payload) > contract.MostSignal {
		return contract.ToTemporal(fault.Invalidf("door.too_large",
			"the payload of %s is %d bytes; at most %d are read", contract.PressSignalName, len(d.first.Payload), contract.MostSignal))
	}
	return nil
}

// accept makes a run of the signal, out of reach of a cancel: a row that was
// committed has somebody who ends it.
func (d *door) accept(ctx workflow.Context) error {
	free, _ := workflow.NewDisconnectedContext(ctx)
	var err error
	if d.run, err = contract.DoorAccept.Run(free, d.first, "accept the press of the signal"); err != nil {
		return err
	}
	d.answer.RunID = d.run.RunID
	d.press = press{in: contract.InstantInput{Batch: d.run.Batch, Size: 1, Skeleton: d.run.Skeleton}, began: workflow.Now(ctx)}
	return workflow.UpsertTypedSearchAttributes(ctx, // who starts by SignalWithStart does not know them
		contract.FlowAttribute.ValueSet(d.run.Flow), contract.RunsAttribute.ValueSet([]string{d.run.RunID}))
}

// carry is the way of every press alone, with the answer shown as soon as it may be.
func (d *door) carry(ctx workflow.Context) error {
	err := d.press.carry(ctx, func(ctx workflow.Context) error {
		err := d.press.read(ctx)
		if err == nil && d.run.Skeleton.Respond != flow.AfterWrite {
			err = d.look(ctx)
		}
		if err == nil {
			err = d.press.write(ctx)
		}
		return err
	})
	if err == nil && d.answer.Status == flow.Accepted {
		err = d.look(ctx)
	}
	return err
}

// repeat ends as the run did that an earlier workflow of this ID carried out.
func (d *door) repeat(ctx workflow.Context) error {
	if err := d.look(ctx); err != nil {
		return err
	}
	d.press.result.Rows, d.press.result.Status = d.answer.Count, d.answer.Status
	switch {
	case d.answer.Fault != nil:
		return contract.ToTemporal(d.answer.Fault)
	case d.answer.Status == flow.Cancelled:
		return temporal.NewCanceledError()
	}
	return nil
}

// look reads the answer, which a cancel does not take back.
func (d *door) look(ctx workflow.Context) error {
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	answer, err := contract.DoorRead.Run(ctx, d.run, "read the answer")
	if err == nil {
		d.answer = answer
	}
	return err
}

// close completes the answer and reads what else was signalled. Nothing may wait
// between this and the end of the workflow: a signal would be lost there.
func (d *door) close(ctx workflow.Context, err error) {
	switch {
	case err == nil:
		d.answer.Status = flow.Completed
	case temporal.IsCanceledError(err):
		d.answer.Status = flow.Cancelled
	default:
		d.answer.Status, d.answer.Fault = flow.Failed, contract.FromTemporal(err)
	}
	for {
		var raw converter.RawValue
		if !d.signals.ReceiveAsync(&raw) {
			break
		}
		if !bytes.Equal(d.first.Payload, raw.Payload().GetData()) { // who repeats a signal sends the same bytes
			d.answer.Rejected++
		}
	}
	if n := d.answer.Rejected; n > 0 {
		workflow.GetLogger(ctx).Warn("signals rejected: the workflow had its press", "signal", contract.PressSignalName, "rejected", n)
		details := fmt.Sprintf("%d further signals rejected: a workflow ID stands for one press", n)
		if before := workflow.GetCurrentDetails(ctx); before != "" {
			details = before + "; " + details
		}
		workflow.SetCurrentDetails(ctx, details)
	}
	d.press.result.Answer = &d.answer
}
