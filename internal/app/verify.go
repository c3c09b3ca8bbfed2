package app

import (
	"context"
	"errors"
	"net/http"

	"cairn/ingest"
	"cairn/internal/engine"
)

// verifyWait is when to come again while something can be verified later: a
// verification of a journal of the usual size takes about as long.
const verifyWait = 30

// verify is GET /api/verify.
func (a *App) verify(ctx context.Context) (report any, refusal *ingest.Refusal) {
	r, err := a.engine.Verify(ctx)
	switch {
	case err == nil:
		return r, nil
	case errors.Is(err, engine.ErrVerifying):
		return nil, &ingest.Refusal{Status: http.StatusTooManyRequests, Sentence: err.Error(), Wait: verifyWait}
	case errors.Is(err, engine.ErrNotNow):
		return nil, &ingest.Refusal{Status: http.StatusServiceUnavailable, Sentence: err.Error(), Wait: verifyWait}
	case errors.Is(err, engine.ErrVerifyLimit):
		return nil, &ingest.Refusal{Status: http.StatusServiceUnavailable, Sentence: err.Error()}
	}
	a.env.Log.Error("a verification failed", "error", err)
	return nil, &ingest.Refusal{Status: http.StatusInternalServerError, Sentence: err.Error()}
}
