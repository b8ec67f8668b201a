package calculator

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"patchbay/internal/fault"
	"patchbay/internal/strictjson"
)

// Registry is the calculators of a program. It does not change, so any number of
// goroutines may use it.
type Registry struct{ byName map[string]Calculator }

// Register makes a registry. Two calculators of one name and version are an error.
func Register(calculators ...Calculator) (*Registry, error) {
	r := &Registry{byName: map[string]Calculator{}}
	for _, c := range calculators {
		key := c.name + " " + c.version
		if _, twice := r.byName[key]; twice {
			return nil, fault.Invalidf("calculator.twice", "there are two calculators %s", key)
		}
		r.byName[key] = c
	}
	return r, nil
}

// Find gives a calculator, or a NotFound fault that names those there are.
func (r *Registry) Find(name, version string) (Calculator, error) {
	c, ok := r.byName[name+" "+version]
	if !ok {
		return c, fault.NotFoundf("calculator.unknown", "there is no calculator %s %s; there are %v", name, version, slices.Sorted(maps.Keys(r.byName)))
	}
	return c, nil
}

// Comparison is what a version in the shadow did beside the live one.
type Comparison struct {
	Equal  bool     `json:"equal"`
	Differ []string `json:"differ,omitempty"` // paths of the output, sorted
	Fault  string   `json:"fault,omitempty"`  // the code of why the shadow gave nothing
}

// Shadow computes with the live version and, on the same input and seed, with the one in its
// shadow. The output and the error are the live version's alone: what the shadow does is compared, and has no effect.
func Shadow(ctx context.Context, live, shadow Calculator, input []byte, run Run) (output []byte, c Comparison, err error) {
	if output, err = live.Compute(ctx, input, run); err != nil {
		return nil, c, err
	}
	other, failed := shadow.Compute(ctx, input, Run{Seed: run.Seed})
	if failed != nil {
		return output, Comparison{Fault: fault.Of(failed).Code}, nil
	}
	if c.Equal = bytes.Equal(output, other); !c.Equal {
		c.Differ = Differences(output, other)
	}
	return output, c, nil
}

// Differences gives where two outputs differ: paths such as output.score, sorted.
func Differences(one, other []byte) []string {
	a, _ := strictjson.Decode(one, "output")
	b, _ := strictjson.Decode(other, "output")
	found := differences(nil, a, b, "output")
	slices.Sort(found)
	return found
}

func differences(found []string, a, b any, path string) []string {
	switch x := a.(type) {
	case map[string]any:
		y, same := b.(map[string]any)
		if !same {
			return append(found, path)
		}
		keys := maps.Clone(x)
		maps.Copy(keys, y)
		for key := range keys {
			v, there := x[key]
			w, here := y[key]
			if there != here {
				found = append(found, fault.At(path, key))
				continue
			}
			found = differences(found, v, w, fault.At(path, key))
		}
		return found
	case []any:
		y, same := b.([]any)
		if !same || len(x) != len(y) {
			return append(found, path)
		}
		for i := range x {
			found = differences(found, x[i], y[i], fault.AtIndex(path, i))
		}
		return found
	case json.Number, string, bool, nil:
		if fmt.Sprintf("%T%v", a, a) != fmt.Sprintf("%T%v", b, b) {
			return append(found, path)
		}
	}
	return found
}
