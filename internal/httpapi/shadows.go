package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"patchbay/internal/flow"
)

type (
	// Shadows knows how calculators compare with those in their shadow, of one flow or of all.
	Shadows interface {
		List(ctx context.Context, flow string) (flow.ShadowList, error)
	}

	shadowsInput struct {
		Call
		Flow string `query:"flow" doc:"Name of a flow; without it all"`
	}

	shadowsOutput struct{ Body flow.ShadowList }
)

func (a *api) shadowRoutes() {
	if a.o.Shadows == nil {
		return
	}
	route(a, huma.Operation{OperationID: "shadows", Method: http.MethodGet, Path: "/v1/shadows", Tags: []string{"reviews"},
		Summary: "How far calculators agree with those in their shadow",
		Description: "By flow and step: in how many runs the two were compared, were the same digit for digit, and the one in the shadow gave nothing; " +
			"and the newest runs in which they differ, at most 100, with the paths of the output. For the roles operate and admin."}, a.shadows)
}

func (a *api) shadows(ctx context.Context, in *shadowsInput) (*shadowsOutput, error) {
	if err := operator(in.principal(), "how calculators compare"); err != nil {
		return nil, err
	}
	list, err := a.o.Shadows.List(ctx, in.Flow)
	return &shadowsOutput{Body: list}, err
}
