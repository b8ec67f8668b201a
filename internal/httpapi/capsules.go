package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// Capsules are the sealed records of decisions; see package capsule.
type Capsules interface {
	// Capsule gives the file; NotFound "capsule.not_found" when nothing was decided.
	Capsule(ctx context.Context, runID string) ([]byte, error)
	// Public gives the key that verifies them, in PEM; NotFound "capsule.no_key" when there is none.
	Public() ([]byte, error)
}

type (
	capsuleInput struct {
		Call
		ID string `path:"id" doc:"run_id"`
	}

	// fileOutput is a file as it is: not a byte of it may be another.
	fileOutput struct {
		ContentType string `header:"Content-Type"`
		Body        []byte
	}
)

func (a *api) capsuleRoutes() {
	if a.o.Capsules == nil {
		return
	}
	file := func(what, media string) map[string]*huma.Response {
		return map[string]*huma.Response{"200": {Description: what, Content: map[string]*huma.MediaType{media: {Schema: &huma.Schema{Type: "string", Format: "binary"}}}}}
	}
	route(a, huma.Operation{
		OperationID: "capsule", Method: http.MethodGet, Path: "/v1/runs/{id}/capsule", Tags: []string{"runs"}, Summary: "The sealed record of a decision",
		Description: "What the run decided and everything that follows from, signed. Keep the bytes as they are: `patchbay capsule verify` and `rerun` take no others. " +
			"404 capsule.not_found: nothing was decided about it (yet).",
		Responses: file("The capsule: one line of canonical JSON", "application/json"),
	}, a.capsule)
	route(a, huma.Operation{
		OperationID: "capsule-key", Method: http.MethodGet, Path: "/v1/capsule-key", Tags: []string{"runs"}, Summary: "The public key that capsules are verified with",
		Responses: file("ed25519, PKIX in PEM", "application/x-pem-file"),
	}, a.capsuleKey)
}

func (a *api) capsule(ctx context.Context, in *capsuleInput) (*fileOutput, error) {
	if _, err := a.visible(ctx, in.principal(), in.ID); err != nil {
		return nil, err
	}
	file, err := a.o.Capsules.Capsule(ctx, in.ID)
	return &fileOutput{ContentType: "application/json", Body: file}, err
}

func (a *api) capsuleKey(context.Context, *struct{}) (*fileOutput, error) {
	key, err := a.o.Capsules.Public()
	return &fileOutput{ContentType: "application/x-pem-file", Body: key}, err
}
