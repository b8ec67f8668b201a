package telemetry

import (
	"io"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"patchbay/internal/fault"
)

// NewLogger writes to w: one JSON object a line for machines, or lines for a
// person at a terminal. Errors are logged as fault.Describe tells them.
func NewLogger(w io.Writer, json bool, level zapcore.Level) *zap.Logger {
	c := zap.NewProductionEncoderConfig()
	c.TimeKey, c.EncodeTime = "at", zapcore.RFC3339NanoTimeEncoder
	encoder := zapcore.NewJSONEncoder(c)
	if !json {
		c.EncodeTime = zapcore.TimeEncoderOfLayout(time.TimeOnly)
		c.EncodeLevel = zapcore.LowercaseLevelEncoder
		c.CallerKey, c.StacktraceKey = zapcore.OmitKey, zapcore.OmitKey
		encoder = zapcore.NewConsoleEncoder(c)
	}
	return zap.New(redacting{zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(w)), level)}, zap.AddCaller())
}

// redacting replaces errors by what may be told of them, wherever they come from.
type redacting struct{ zapcore.Core }

func (r redacting) With(fields []zapcore.Field) zapcore.Core {
	return redacting{r.Core.With(redact(fields))}
}

func (r redacting) Check(e zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if r.Enabled(e.Level) {
		return checked.AddCore(e, r)
	}
	return checked
}

func (r redacting) Write(e zapcore.Entry, fields []zapcore.Field) error {
	return r.Core.Write(e, redact(fields))
}

func redact(fields []zapcore.Field) []zapcore.Field {
	out := fields
	for i, f := range fields {
		err, ok := f.Interface.(error)
		if !ok {
			continue
		}
		if &out[0] == &fields[0] {
			out = append([]zapcore.Field(nil), fields...) // the caller's slice is not ours
		}
		out[i] = zap.String(f.Key, describe(err))
	}
	return out
}

// describe lets the SDK's own rules speak: what it says of a workflow that is
// not deterministic names types and IDs, and nobody could repair one without.
func describe(err error) string {
	if text := err.Error(); strings.HasPrefix(text, "[TMPRL") {
		return text
	}
	return fault.Describe(err)
}
