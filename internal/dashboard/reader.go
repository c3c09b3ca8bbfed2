package dashboard

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// reader reads JSON of a known shape. What has another shape is refused where that begins, so
// that nothing is ever nested deeper than a dashboard is.
type reader struct{ d *json.Decoder }

// newReader returns one of b, which is well-formed then.
func newReader(b []byte) (*reader, error) {
	if len(b) > MaxBytes {
		return nil, problem("", "the dashboard has more than %d KiB, which is the most that one may have", MaxBytes>>10)
	}
	if !utf8.Valid(b) {
		return nil, problem("", "the dashboard is not UTF-8")
	}
	if err := json.Unmarshal(b, new(json.RawMessage)); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return nil, problem("", "the dashboard is not JSON: %s, at byte %d", syntax, syntax.Offset)
		}
		return nil, problem("", "the dashboard is not JSON: %s", err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	return &reader{d}, nil
}

// token returns the next token of well-formed JSON.
func (r *reader) token() json.Token {
	t, err := r.d.Token()
	if err != nil && err != io.EOF {
		panic(fmt.Sprintf("BUG: JSON that was well-formed is not: %v", err))
	}
	return t
}

// is names what a token begins.
func is(t json.Token) string {
	switch t := t.(type) {
	case json.Delim:
		if t == '[' {
			return "a list"
		}
		return "an object"
	case string:
		return "a string"
	case json.Number:
		return "a number"
	case bool:
		return strconv.FormatBool(t)
	}
	return "null"
}

// object reads an object, of which field reads the values. known are its keys; nil: any.
func (r *reader) object(path string, known []string, field func(key, at string) error) error {
	if t := r.token(); t != json.Delim('{') {
		return problem(path, "must be an object, and is %s", is(t))
	}
	seen := map[string]bool{}
	for r.d.More() {
		key := r.token().(string)
		at := short(key)
		if path != "" {
			at = path + "." + at
		}
		if seen[key] {
			return problem(at, "is there twice")
		}
		seen[key] = true
		if known != nil && !slices.Contains(known, key) {
			return problem(at, "is not known; there are %s", strings.Join(known, ", "))
		}
		if err := field(key, at); err != nil {
			return err
		}
	}
	r.token()
	return nil
}

// list reads a list of up to most elements.
func (r *reader) list(path string, most int, element func(at string) error) error {
	if t := r.token(); t != json.Delim('[') {
		return problem(path, "must be a list, and is %s", is(t))
	}
	return r.rest(path, most, element)
}

// rest reads what follows the beginning of a list.
func (r *reader) rest(path string, most int, element func(at string) error) error {
	for i := 0; r.d.More(); i++ {
		if i == most {
			return problem(path, "has more than %d elements", most)
		}
		if err := element(fmt.Sprintf("%s[%d]", path, i)); err != nil {
			return err
		}
	}
	r.token()
	return nil
}

// text reads a string of up to most bytes. Only one of several lines may hold control characters.
func (r *reader) text(to *string, most int, lines bool) func(string) error {
	return func(at string) error {
		t := r.token()
		s, ok := t.(string)
		if !ok {
			return problem(at, "must be a string, and is %s", is(t))
		}
		*to = s
		return checkText(at, s, most, lines)
	}
}

func checkText(at, s string, most int, lines bool) error {
	if len(s) > most {
		return problem(at, "has %d bytes; at most %d are allowed", len(s), most)
	}
	if !lines && strings.ContainsFunc(s, unicode.IsControl) {
		return problem(at, "has a control character; it is one line of text")
	}
	return nil
}

// number reads a whole number in [low, high].
func (r *reader) number(to *int, low, high int) func(string) error {
	return func(at string) error {
		t := r.token()
		n, ok := t.(json.Number)
		if !ok {
			return problem(at, "must be a number, and is %s", is(t))
		}
		v, err := strconv.Atoi(n.String())
		if err != nil || v < low || v > high {
			return problem(at, "is %s; it must be a whole number from %d to %d", short(n.String()), low, high)
		}
		*to = v
		return nil
	}
}

// values reads a string or a list of strings.
func (r *reader) values(to *Values) func(string) error {
	return func(at string) error {
		one := func(at string, t json.Token) error {
			s, ok := t.(string)
			if !ok {
				return problem(at, "must be a string or a list of strings, and is %s", is(t))
			}
			*to = append(*to, s)
			return checkText(at, s, maxValue, false)
		}
		*to = Values{}
		t := r.token()
		if t != json.Delim('[') {
			return one(at, t)
		}
		return r.rest(at, maxValues, func(at string) error { return one(at, r.token()) })
	}
}
