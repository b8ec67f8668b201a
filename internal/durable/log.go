package durable

import (
	"fmt"

	sdklog "go.temporal.io/sdk/log"
	"go.uber.org/zap"
)

// NewLogger lets the SDK log through zap. The SDK's loggers in workflows stay
// silent during replay; that is its own doing and is kept.
func NewLogger(l *zap.Logger) sdklog.Logger { return logger{l.WithOptions(zap.AddCallerSkip(1))} }

type logger struct{ zap *zap.Logger }

func (l logger) Debug(msg string, keyvals ...any) { l.zap.Debug(msg, fields(keyvals)...) }
func (l logger) Info(msg string, keyvals ...any)  { l.zap.Info(msg, fields(keyvals)...) }
func (l logger) Warn(msg string, keyvals ...any)  { l.zap.Warn(msg, fields(keyvals)...) }

// Error lowers what the SDK says of each failed attempt of an activity: a row
// that is not there, or a vendor that is away, is an outcome of the run and told
// there; a mistake of ours NewInterceptor has logged.
func (l logger) Error(msg string, keyvals ...any) {
	if msg == attemptFailed {
		l.zap.Info(msg, fields(keyvals)...)
		return
	}
	l.zap.Error(msg, fields(keyvals)...)
}

const attemptFailed = "Activity error."

func (l logger) With(keyvals ...any) sdklog.Logger { return logger{l.zap.With(fields(keyvals)...)} }

func (l logger) WithCallerSkip(n int) sdklog.Logger {
	return logger{l.zap.WithOptions(zap.AddCallerSkip(n))}
}

func fields(keyvals []any) []zap.Field {
	out := make([]zap.Field, 0, len(keyvals)/2+1)
	for i := 0; i+1 < len(keyvals); i += 2 {
		key, ok := keyvals[i].(string)
		if !ok {
			key = fmt.Sprint(keyvals[i])
		}
		out = append(out, zap.Any(key, keyvals[i+1]))
	}
	if len(keyvals)%2 == 1 {
		out = append(out, zap.Any("extra", keyvals[len(keyvals)-1]))
	}
	return out
}
