package advice

import (
	"context"
	"errors"
	"slices"
	"time"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

type (
	// Model answers a question, once: it does not try again. An error is a
	// *fault.Fault, or the context's own.
	Model interface {
		Ask(ctx context.Context, q Question) (Reply, error)
	}

	// Reply is what a model said, as it came. Model and Version are as the server
	// reports them; empty where it does not.
	Reply struct {
		Model, Version string
		Answer         []byte
	}
)

const (
	// backoff is the wait before a second attempt where nobody says how long; it doubles.
	backoff = 200 * time.Millisecond
	// longestQueue is how long one customer waits for limits that we keep ourselves.
	longestQueue = 10 * time.Minute
)

// queues are the faults of a question that was not sent, because of limits that we keep
// ourselves: they say nothing about the model.
var queues = []string{"connector.busy", "connector.rate", "quota.used_up", "quota.unknown"}

// Ask makes the plan of one customer: the model's, or where it fails after the attempts
// of the section, the rules'. An error is the context's end and nothing else: a model that
// fails, in whatever way, is none, nor are rows that do not fit.
func (s *Spec) Ask(ctx context.Context, m Model, in Input) (Plan, error) {
	a, err := s.ask(in)
	if err != nil {
		return Plan{}, err
	}
	p := s.begun(in, a)
	switch {
	case s.Attempts <= 0:
	case len(a.evidence.shown) == 0:
		p.Failure = "model.nothing_to_show"
	case len(a.offered) == 0:
		p.Failure = "model.nothing_to_offer"
	default:
		done, err := s.attempts(ctx, m, a, &p)
		if err != nil || done {
			return p, err
		}
	}
	s.decide(&p, a)
	s.review(&p)
	return p, nil
}

// attempts asks the model until an answer is accepted; done says that one was.
func (s *Spec) attempts(ctx context.Context, m Model, a *asked, p *Plan) (done bool, err error) {
	q, wait, queued := a.question, backoff, time.Duration(0)
	for p.Attempts < s.Attempts {
		p.Attempts++
		p.Digest = q.digest()
		reply, err := s.once(ctx, m, q)
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		if err != nil {
			f := fault.Of(err)
			p.Failure, p.Refused = f.Code, f.Class == fault.Rejected
			if slices.Contains(queues, f.Code) && queued < longestQueue {
				p.Attempts--
				queued += max(f.After, backoff)
				if err := pause(ctx, max(f.After, backoff)); err != nil {
					return false, err
				}
				continue
			}
			switch {
			case p.Refused:
				continue // what came is no answer; another may be
			case !f.Retryable() || f.After > s.Patience:
				return false, nil
			case p.Attempts < s.Attempts:
				if err := pause(ctx, max(f.After, min(wait, s.Patience))); err != nil {
					return false, err
				}
				wait *= 2
			}
			continue
		}
		report(p, reply)
		got, why := s.judge(a, reply.Answer)
		switch why {
		case "":
			p.Failure, p.Refused = "", false
			s.propose(p, got)
			s.review(p)
			return true, nil
		case needsStaleData:
			p.Failure, p.Refused = "", false
			s.withhold(p, got.action, a.withheld[got.action])
			s.review(p)
			return true, nil
		}
		p.Failure, p.Refused = string(why), true
		q = a.question.again(why)
	}
	return false, nil
}

// once asks with the time of one attempt.
func (s *Spec) once(ctx context.Context, m Model, q Question) (Reply, error) {
	inner, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	reply, err := m.Ask(inner, q)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = fault.New(fault.Unavailable, "model.timeout", "the model did not answer in time", err)
	}
	return reply, err
}

// report keeps who answered, as far as it is a name.
func report(p *Plan, r Reply) {
	if name := label(r.Model); name != "" {
		p.Model = name
	}
	if version := label(r.Version); version != "" {
		p.Version = version
	}
}

// label is a name that the server gave, if it looks like one: it is outside data, too.
func label(text string) string {
	if len(text) > 2*mostToken || !isLabel(text) {
		return ""
	}
	return text
}

func isLabel(text string) bool {
	for i := range len(text) {
		c := text[i]
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' && c != '/' && c != ':' && c != '@' {
			return false
		}
	}
	return text != ""
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Withheld reports whether a plan proposes nothing.
func (p Plan) Withheld() bool { return p.State == flow.AdviceWithheld }
