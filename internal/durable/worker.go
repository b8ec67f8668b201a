package durable

import (
	"time"

	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"go.uber.org/zap"

	"patchbay/internal/contract"
)

// WorkerOptions are what every worker of a Patchbay is built with. Slots and
// pollers are the caller's to set.
func WorkerOptions(buildID string, l *zap.Logger) worker.Options {
	return worker.Options{
		DeploymentOptions: worker.DeploymentOptions{
			UseVersioning: true,
			Version:       worker.WorkerDeploymentVersion{DeploymentName: contract.Deployment, BuildID: buildID},
			// The stubs in contract say it again for each workflow.
			DefaultVersioningBehavior: workflow.VersioningBehaviorPinned,
		},
		// A cancel reaches an activity with the answer to a heartbeat. The SDK would
		// send one in 80 % of the heartbeat timeout, four seconds at ours.
		MaxHeartbeatThrottleInterval:     500 * time.Millisecond,
		DefaultHeartbeatThrottleInterval: 500 * time.Millisecond,
		// How long an interrupted activity may take to put its things in order.
		WorkerStopTimeout: 5 * time.Second,
		// With aliasing, a Go method name would be a second name on the wire.
		DisableRegistrationAliasing: true,
		Interceptors:                []interceptor.WorkerInterceptor{NewInterceptor(l)},
	}
}
