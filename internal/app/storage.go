package app

import (
	"net/http"

	"cairn/ingest"
)

// storage is GET /api/storage.
func (a *App) storage(n int) (storage any, refusal *ingest.Refusal) {
	s, err := a.engine.Storage(n)
	if err != nil {
		a.env.Log.Error("the store cannot be measured", "error", err)
		return nil, &ingest.Refusal{Status: http.StatusInternalServerError, Sentence: err.Error()}
	}
	return s, nil
}
