//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"cairn/internal/bench/child"
)

// warmUp is how often each server is asked before it is timed.
const warmUp = 3

// server answers over HTTP. It is a child.Cairn or a child.Victoria.
type server interface {
	Get(ctx context.Context, path string) ([]byte, error)
	Fetch(ctx context.Context, path string) error
}

// way is how a question is put to a server, and how long the answers took.
type way struct {
	name string
	server
	path  string
	times []time.Duration
	na    string // why there is no answer; "": there is one
}

// measured is what came out of one question.
type measured struct {
	question
	native, prom, victoria way
}

// wrongError says that servers differ.
type wrongError struct{ error }

// ask compares the answers to a question, and then times them. victoria may be nil.
func (b *bench) ask(ctx context.Context, q question, cairn, victoria server) (out measured, err error) {
	out = measured{
		question: q,
		native:   way{name: "native", server: cairn, path: q.nativePath()},
		prom:     way{name: "PromQL", server: cairn, path: q.promPath()},
		victoria: way{name: "VictoriaMetrics", server: victoria, path: q.victoriaPath(), na: "not asked"},
	}
	first := map[string]answer{}
	if victoria != nil {
		out.victoria.na = ""
		if err := out.victoria.answer(ctx, first, q.parseRange); err != nil {
			return out, err
		}
	}
	if err := out.native.answer(ctx, first, q.parseNative); err != nil {
		return out, err
	}
	if err := out.prom.answer(ctx, first, q.parseRange); err != nil {
		return out, err
	}
	if err := agree(first, &out.victoria, &out.native, &out.prom); err != nil {
		return out, err
	}
	ways := []*way{&out.native, &out.victoria, &out.prom}
	for i := range warmUp + b.rounds {
		for j := range ways { // each is first as often as the others
			w := ways[(i+j)%len(ways)]
			if w.na != "" {
				continue
			}
			took, err := b.took(func() error { return w.Fetch(ctx, w.path) })
			if err != nil {
				return out, err
			}
			if i >= warmUp {
				w.times = append(w.times, took)
			}
		}
	}
	return out, nil
}

// answer notes the answer to a question in all, or in na why there is none.
func (w *way) answer(ctx context.Context, all map[string]answer, parse func([]byte) (answer, error)) error {
	body, err := w.Get(ctx, w.path)
	var a answer
	if err == nil {
		a, err = parse(body)
	}
	var status *child.StatusError
	var unknown *unknownError
	switch {
	case errors.As(err, &status):
		w.na = fmt.Sprintf("%d: %s", status.Code, sentence(status.Body))
	case errors.As(err, &unknown):
		w.na = unknown.Error()
	case err != nil:
		return fmt.Errorf("%s: %w", w.name, err)
	default:
		all[w.name] = a
	}
	return nil
}

// agree compares the answers that there are. It takes the first of the ways for right; the
// others get a reason, and its error says what differs.
func agree(all map[string]answer, ways ...*way) error {
	var right *way
	var errs []error
	for _, w := range ways {
		switch {
		case w.na != "":
		case right == nil:
			right = w
		default:
			if err := all[w.name].same(all[right.name]); err != nil {
				err = fmt.Errorf("%s differs from %s: %w (totals %.0f and %.0f)", w.name, right.name, err, all[w.name].total(), all[right.name].total())
				w.na = "WRONG: " + err.Error()
				errs = append(errs, err)
			}
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return wrongError{errors.Join(errs...)}
}

// maxSentence bounds a reason in the table, in bytes.
const maxSentence = 160

// sentence returns what an error's body says: the member error, if it is JSON.
func sentence(body string) string {
	var r struct{ Error string }
	if json.Unmarshal([]byte(body), &r) == nil && r.Error != "" {
		body = r.Error
	}
	body = strings.Join(strings.Fields(body), " ")
	if len(body) > maxSentence {
		body = strings.ToValidUTF8(body[:maxSentence], "") + "…"
	}
	return strings.ReplaceAll(body, "|", `\|`)
}
