package residency

import (
	"context"
	"errors"
	"fmt"

	"go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Temporal scans what a namespace tells of its workflows and schedules: visibility,
// histories, what an open one waits for with the details of heartbeats. It scans the
// messages as they are and as JSON, and every payload by itself.
func (s *Scanner) Temporal(ctx context.Context, name string, c client.Client, namespace string) error {
	var next []byte
	for {
		page, err := c.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: namespace, NextPageToken: next, PageSize: 500})
		if err != nil {
			return fmt.Errorf("listing the workflows of %s: %w", name, err)
		}
		for _, execution := range page.GetExecutions() {
			s.message(name+", visibility", execution)
			if err := s.workflow(ctx, name, c, execution.GetExecution()); err != nil {
				return err
			}
		}
		if next = page.GetNextPageToken(); len(next) == 0 {
			break
		}
	}
	schedules, err := c.ScheduleClient().List(ctx, client.ScheduleListOptions{PageSize: 500})
	if err != nil {
		return fmt.Errorf("listing the schedules of %s: %w", name, err)
	}
	for schedules.HasNext() {
		entry, err := schedules.Next()
		if err != nil {
			return fmt.Errorf("listing the schedules of %s: %w", name, err)
		}
		described, err := c.WorkflowService().DescribeSchedule(ctx, &workflowservice.DescribeScheduleRequest{Namespace: namespace, ScheduleId: entry.ID})
		if err != nil {
			return fmt.Errorf("describing a schedule of %s: %w", name, err)
		}
		s.Bytes(name+", schedules", []byte(entry.ID))
		s.message(name+", schedules", described)
	}
	return nil
}

func (s *Scanner) workflow(ctx context.Context, name string, c client.Client, id *common.WorkflowExecution) error {
	var gone *serviceerror.NotFound // canaries are deleted when they have passed
	described, err := c.DescribeWorkflowExecution(ctx, id.GetWorkflowId(), id.GetRunId())
	if errors.As(err, &gone) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("describing a workflow of %s: %w", name, err)
	}
	s.message(name+", open work", described)
	events := c.GetWorkflowHistory(ctx, id.GetWorkflowId(), id.GetRunId(), false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		if errors.As(err, &gone) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading a history of %s: %w", name, err)
		}
		s.message(name+", histories", event)
	}
	return nil
}

// message scans a message as it is on the wire and as JSON shows it, and its payloads.
func (s *Scanner) message(name string, m proto.Message) {
	if raw, err := proto.Marshal(m); err == nil {
		s.Bytes(name, raw)
	}
	if text, err := protojson.Marshal(m); err == nil {
		s.Bytes(name+" as JSON", text)
	}
	s.payloads(name, m.ProtoReflect())
}

// payloads scans the data of each payload of a message.
func (s *Scanner) payloads(name string, m protoreflect.Message) {
	if p, ok := m.Interface().(*common.Payload); ok {
		s.Bytes(name+", payloads", p.GetData())
		return
	}
	m.Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case field.IsMap() && field.MapValue().Message() != nil:
			v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
				s.payloads(name, v.Message())
				return true
			})
		case field.IsList() && field.Message() != nil:
			for i := range v.List().Len() {
				s.payloads(name, v.List().Get(i).Message())
			}
		case !field.IsMap() && !field.IsList() && field.Message() != nil:
			s.payloads(name, v.Message())
		}
		return true
	})
}
