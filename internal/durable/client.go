package durable

import (
	"context"
	"fmt"
	"path"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"patchbay/internal/failpoint"
	"patchbay/internal/fault"
)

// Options say which Temporal to speak to.
type Options struct {
	Address   string // HOST:PORT; empty: TEMPORAL_ADDRESS and the rest of the SDK's environment configuration
	Namespace string // empty: the environment's, else "default"
	Logger    *zap.Logger
	Metrics   client.MetricsHandler // nil: none
}

// Dial makes a client without connecting: Patchbay accepts presses while
// Temporal is down. The first call connects; Ready tells whether one would
// succeed. The caller closes the client.
//
// Every call retries while Temporal is away, for up to ten seconds unless the
// context ends sooner: callers on the path of a person bring a deadline.
func Dial(ctx context.Context, o Options) (client.Client, error) {
	var options client.Options
	if o.Address == "" {
		loaded, err := envconfig.LoadDefaultClientOptions()
		if err != nil {
			return nil, fault.New(fault.Invalid, "temporal.config", "the environment configuration of Temporal (TEMPORAL_… or its file) cannot be used", err)
		}
		options = loaded
	}
	if o.Address != "" {
		options.HostPort = o.Address
	}
	if o.Namespace != "" {
		options.Namespace = o.Namespace
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("dialling Temporal: %w", err)
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	options.Logger = NewLogger(o.Logger)
	options.MetricsHandler = o.Metrics
	options.DataConverter = NewDataConverter()
	options.FailureConverter = NewFailureConverter()
	if failpoint.Built {
		options.ConnectionOptions.DialOptions = append(options.ConnectionOptions.DialOptions, grpc.WithChainUnaryInterceptor(failing))
	}
	c, err := client.NewLazyClient(options)
	if err != nil {
		return nil, fault.New(fault.Invalid, "temporal.config", "the options for Temporal cannot be used", err)
	}
	return c, nil
}

// failing is every call of Temporal by its name, for programs with failpoints.
func failing(ctx context.Context, method string, in, out any, conn *grpc.ClientConn, call grpc.UnaryInvoker, o ...grpc.CallOption) error {
	at := failpoint.At("temporal", path.Base(method))
	at.Before()
	err := call(ctx, method, in, out, conn, o...)
	if err == nil && at.Lost() {
		return status.Error(codes.Unavailable, "the answer was lost on its way")
	}
	if err == nil {
		at.After()
	}
	return err
}

// readyTimeout bounds one look at the server's health.
const readyTimeout = 2 * time.Second

// Ready reports whether Temporal answers for the namespace, as a fault
// Unavailable "temporal.unavailable" or NotFound "temporal.no_namespace". It
// asks for the namespace's record: a server can say SERVING and have lost its
// database.
func Ready(ctx context.Context, c client.Client, namespace string) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	_, err := c.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: namespace})
	return Classify(err)
}
