package durable

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"

	"patchbay/internal/fault"
)

// MaxPayload is the size in bytes that no single payload exceeds (promise 8).
// Whoever has more to say stores it and passes a reference.
const MaxPayload = 64 << 10

// NewDataConverter encodes values as JSON, refuses one above MaxPayload with the
// fault "durable.payload_too_large", and keeps numbers exact where the target is
// untyped. A field that the reader does not know is ignored: a client and a
// worker of neighbouring releases read each other's results.
func NewDataConverter() converter.DataConverter {
	return bounded{plainConverter()}
}

func plainConverter() converter.DataConverter {
	return converter.NewCompositeDataConverter(
		converter.NewNilPayloadConverter(),
		converter.NewByteSlicePayloadConverter(),
		converter.NewProtoJSONPayloadConverter(),
		converter.NewProtoPayloadConverter(),
		exactJSON{converter.NewJSONPayloadConverter()},
	)
}

// bounded refuses payloads that are too large, on the way out only: what a
// history already holds must stay readable.
type bounded struct{ converter.DataConverter }

func (b bounded) ToPayload(value any) (*commonpb.Payload, error) {
	p, err := b.DataConverter.ToPayload(value)
	if err == nil && len(p.GetData()) > MaxPayload {
		return nil, fault.New(fault.Bug, "durable.payload_too_large", fmt.Sprintf(
			"a value of type %T is %d bytes; at most %d may pass through Temporal", value, len(p.GetData()), MaxPayload), nil)
	}
	return p, err
}

func (b bounded) ToPayloads(values ...any) (*commonpb.Payloads, error) {
	if len(values) == 0 {
		return nil, nil
	}
	out := &commonpb.Payloads{Payloads: make([]*commonpb.Payload, len(values))}
	for i, v := range values {
		p, err := b.ToPayload(v)
		if err != nil {
			return nil, fmt.Errorf("encoding value %d: %w", i, err)
		}
		out.Payloads[i] = p
	}
	return out, nil
}

// exactJSON decodes numbers in untyped places as json.Number, never as float64.
type exactJSON struct {
	*converter.JSONPayloadConverter
}

func (exactJSON) FromPayload(payload *commonpb.Payload, valuePtr any) error {
	d := json.NewDecoder(bytes.NewReader(payload.GetData()))
	d.UseNumber()
	if err := d.Decode(valuePtr); err != nil {
		return fmt.Errorf("%w: %w", converter.ErrUnableToDecode, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("%w: data after the value", converter.ErrUnableToDecode)
	}
	return nil
}
