package durable

import (
	"context"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
)

// Backlog is what waits in a queue of activities, as Temporal estimates it.
type Backlog struct {
	Waiting int64         // tasks that no worker has
	Age     time.Duration // of the oldest
	Pollers int           // workers that asked for tasks within the last minutes
}

// ActivityBacklog asks for the backlog of a queue, of all builds together.
func ActivityBacklog(ctx context.Context, c client.Client, namespace, queue string) (Backlog, error) {
	d, err := c.WorkflowService().DescribeTaskQueue(ctx, &workflowservice.DescribeTaskQueueRequest{
		Namespace: namespace, TaskQueue: &taskqueuepb.TaskQueue{Name: queue, Kind: enumspb.TASK_QUEUE_KIND_NORMAL},
		TaskQueueType: enumspb.TASK_QUEUE_TYPE_ACTIVITY, ReportStats: true,
	})
	if err != nil {
		return Backlog{}, fmt.Errorf("asking what waits in queue %s: %w", queue, Classify(err))
	}
	s := d.GetStats()
	return Backlog{Waiting: s.GetApproximateBacklogCount(), Age: s.GetApproximateBacklogAge().AsDuration(), Pollers: len(d.GetPollers())}, nil
}
