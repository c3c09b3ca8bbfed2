// Package dashboard says what a dashboard is, and reads one from JSON that anybody may have
// written: what is wrong is told with the place where it is.
package dashboard

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// Bounds on a dashboard: more than a screen or a person takes in, and little for a server.
const (
	MaxBytes     = 256 << 10 // of its JSON
	maxTitle     = 200       // bytes
	maxAbout     = 4_000     // bytes of the description
	maxPanels    = 100
	maxVariables = 50
	maxName      = 64       // bytes of a panel's id and of a variable's name
	maxText      = 64 << 10 // bytes of a panel's text
	maxValue     = 4_000    // bytes of one value of a query or a variable
	maxValues    = 100      // of one parameter or variable
	maxParams    = 64       // of one query
	columns      = 24       // of the grid: it divides into halves, thirds, quarters and eighths
	maxRow       = 10_000
	maxHeight    = 100
	minRefresh   = 1         // seconds
	maxRefresh   = 24 * 3600 // seconds
)

// types of panels.
var types = []string{"bars", "stacked", "lines", "area", "table", "heatmap", "markdown", "number"}

// markdown is the type that shows its text; all others have a query.
const markdown = "markdown"

// Dashboard is a checked dashboard. Times and durations are written as in a query.
type Dashboard struct {
	Title       string     `json:"title"`
	Description string     `json:"description"`
	Refresh     string     `json:"refresh"` // a duration; "": it does not refresh by itself
	From        string     `json:"from"`    // "": as /api/query has it; so is To
	To          string     `json:"to"`
	TZ          string     `json:"tz"`
	Variables   []Variable `json:"variables"`
	Panels      []Panel    `json:"panels"`
}

// Variable stands for values of a tag.
type Variable struct {
	Name   string `json:"name"`
	Tag    string `json:"tag"`
	Metric string `json:"metric"` // whose values are offered; "": any
	Value  Values `json:"value"`
}

// Panel is one place of the grid: columns from X and rows from Y on.
type Panel struct {
	ID    string            `json:"id"`
	Title string            `json:"title"`
	Type  string            `json:"type"`
	X     int               `json:"x"`
	Y     int               `json:"y"`
	W     int               `json:"w"`
	H     int               `json:"h"`
	Query map[string]Values `json:"query,omitempty"` // parameters of /api/query
	Text  string            `json:"text,omitempty"`
}

// Values are one or several; in JSON one is a string, and none or several are a list.
type Values []string

// MarshalJSON implements json.Marshaler.
func (v Values) MarshalJSON() ([]byte, error) {
	if len(v) == 1 {
		return plainJSON(v[0])
	}
	return plainJSON(append([]string{}, v...))
}

// plainJSON leaves < and > as they are: with six bytes each a text could outgrow its bound.
func plainJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("write a dashboard: %w", err)
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

// JSON returns the dashboard in the one form in which it is kept: an object with all fields.
func (d *Dashboard) JSON() ([]byte, error) { return plainJSON(d) }

// Problem is what is wrong with a dashboard.
type Problem struct {
	Path     string // such as panels[2].query.step; "": all of it
	Sentence string // with the path
}

// Error implements error.
func (p *Problem) Error() string { return p.Sentence }

func problem(path, format string, args ...any) error {
	sentence := fmt.Sprintf(format, args...)
	if path != "" {
		sentence = path + " " + sentence
	}
	return &Problem{path, sentence}
}

// short cuts a name from hostile input that goes into a sentence.
func short(s string) string {
	if len(s) > maxName {
		return strings.ToValidUTF8(s[:maxName], "") + "…"
	}
	return s
}
