package dashboard

import (
	"errors"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"cairn/query"
)

// Document is a dashboard as it comes and goes: with which version of which one it is. All three
// are zero where they are not given.
type Document struct {
	ID      string
	Version uint32
	Updated int // Unix second; who reads a document that somebody sent has no use for it
	Dashboard
}

var (
	rootFields     = []string{"id", "version", "updated", "title", "description", "refresh", "from", "to", "tz", "variables", "panels"}
	variableFields = []string{"name", "tag", "metric", "value"}
	panelFields    = []string{"id", "title", "type", "x", "y", "w", "h", "query", "text"}
)

// Parse reads and checks a dashboard; what is wrong is a *Problem. now is what times are relative to.
func Parse(b []byte, now time.Time) (*Document, error) {
	r, err := newReader(b)
	if err != nil {
		return nil, err
	}
	d := &Document{Dashboard: Dashboard{Variables: []Variable{}, Panels: []Panel{}}}
	if err := d.read(r); err != nil {
		return nil, err
	}
	if err := d.check(now); err != nil {
		return nil, err
	}
	text, err := d.JSON()
	if err == nil && len(text) > MaxBytes {
		err = problem("", "the dashboard has %d bytes with all its fields; at most %d are allowed", len(text), MaxBytes)
	}
	return d, err
}

func (d *Document) read(r *reader) error {
	version := 0
	fields := map[string]func(string) error{
		"id": r.text(&d.ID, maxName, false), "version": r.number(&version, 0, math.MaxInt32), "updated": r.number(&d.Updated, 0, math.MaxInt),
		"title": r.text(&d.Title, maxTitle, false), "description": r.text(&d.Description, maxAbout, true),
		"refresh": r.text(&d.Refresh, maxName, false), "from": r.text(&d.From, maxName, false), "to": r.text(&d.To, maxName, false), "tz": r.text(&d.TZ, maxName, false),
		"variables": func(at string) error {
			return r.list(at, maxVariables, func(at string) error {
				d.Variables = append(d.Variables, Variable{Value: Values{""}})
				return d.Variables[len(d.Variables)-1].read(r, at)
			})
		},
		"panels": func(at string) error {
			return r.list(at, maxPanels, func(at string) error {
				d.Panels = append(d.Panels, Panel{})
				return d.Panels[len(d.Panels)-1].read(r, at)
			})
		},
	}
	err := r.object("", rootFields, func(key, at string) error { return fields[key](at) })
	d.Version = uint32(version)
	return err
}

func (v *Variable) read(r *reader, at string) error {
	fields := map[string]func(string) error{
		"name": r.text(&v.Name, maxName, false), "tag": r.text(&v.Tag, maxValue, false), "metric": r.text(&v.Metric, maxValue, false), "value": r.values(&v.Value),
	}
	return r.object(at, variableFields, func(key, at string) error { return fields[key](at) })
}

func (p *Panel) read(r *reader, at string) error {
	fields := map[string]func(string) error{
		"id": r.text(&p.ID, maxName, false), "title": r.text(&p.Title, maxTitle, false), "type": r.text(&p.Type, maxName, false),
		"x": r.number(&p.X, 0, columns-1), "y": r.number(&p.Y, 0, maxRow), "w": r.number(&p.W, 1, columns), "h": r.number(&p.H, 1, maxHeight),
		"text": r.text(&p.Text, maxText, true),
		"query": func(at string) error {
			p.Query = map[string]Values{}
			return r.object(at, nil, func(key, at string) error {
				if len(p.Query) == maxParams {
					return problem(at, "is one parameter too many; at most %d are allowed", maxParams)
				}
				var v Values
				err := r.values(&v)(at)
				p.Query[key] = v
				return err
			})
		},
	}
	return r.object(at, panelFields, func(key, at string) error { return fields[key](at) })
}

// check looks at what is only right or wrong together.
func (d *Dashboard) check(now time.Time) error {
	if strings.TrimSpace(d.Title) == "" {
		return problem("title", "is missing; a dashboard is found by it")
	}
	if d.Refresh != "" {
		s, err := query.ParseDuration(d.Refresh)
		if err != nil {
			return problem("refresh", "is wrong: %s", err)
		}
		if s < minRefresh || s > maxRefresh {
			return problem("refresh", "is %s; it must be between 1s and 1d, or empty", d.Refresh)
		}
	}
	// A range is right or wrong with any metric.
	if path, err := checkQuery(map[string]Values{"metric": {"m"}, "from": {d.From}, "to": {d.To}, "tz": {d.TZ}}, now); err != nil {
		return problem(path, "is wrong: %s", err)
	}
	if err := checkVariables(d.Variables); err != nil {
		return err
	}
	seen := map[string]bool{}
	for i := range d.Panels {
		p := &d.Panels[i]
		at := indexed("panels", i)
		if err := p.check(at, d.TZ, now); err != nil {
			return err
		}
		if seen[p.ID] {
			return problem(at+".id", "is %q, which another panel has too", p.ID)
		}
		seen[p.ID] = true
	}
	return nil
}

func checkVariables(list []Variable) error {
	seen := map[string]bool{}
	for i := range list {
		v := &list[i]
		at := indexed("variables", i)
		switch {
		case !isName(v.Name, "_") || v.Name[0] >= '0' && v.Name[0] <= '9':
			return problem(at+".name", "is %q; it must be of letters, digits and _, and not begin with a digit", v.Name)
		case seen[v.Name]:
			return problem(at+".name", "is %q, which another variable has too", v.Name)
		case v.Tag == "":
			return problem(at+".tag", "is missing; a variable stands for the values of a tag")
		}
		seen[v.Name] = true
	}
	return nil
}

func (p *Panel) check(at, zone string, now time.Time) error {
	switch {
	case !isName(p.ID, "_-"):
		return problem(at+".id", "is %q; it must be of letters, digits, _ and -", p.ID)
	case !slices.Contains(types, p.Type):
		return problem(at+".type", "is %q; it must be one of %s", p.Type, strings.Join(types, ", "))
	case p.W == 0 || p.H == 0:
		return problem(at, "has no size; w and h are missing")
	case p.X+p.W > columns:
		return problem(at, "ends at column %d; the grid has %d", p.X+p.W, columns)
	case p.Type == markdown && p.Query != nil:
		return problem(at+".query", "is for panels that show a metric; this one shows its text")
	case p.Type == markdown:
		return nil
	case p.Text != "":
		return problem(at+".text", "is for panels of the type %s; this one shows its query", markdown)
	case p.Query == nil:
		return problem(at+".query", "is missing; it holds the parameters of /api/query")
	}
	q := p.Query
	if len(q["tz"]) == 0 && zone != "" {
		q = maps.Clone(q)
		q["tz"] = Values{zone}
	}
	if param, err := checkQuery(q, now); err != nil {
		return problem(at+".query."+short(param), "is wrong: %s", err)
	}
	return nil
}

// checkQuery returns what is wrong with parameters of a query, and with which.
func checkQuery(q map[string]Values, now time.Time) (param string, err error) {
	_, err = query.ParseRequest(slices.Sorted(maps.Keys(q)), func(name string) []string { return q[name] }, now)
	var p *query.ParamError
	var limit *query.LimitError
	switch {
	case errors.As(err, &p):
		param = p.Param
	case errors.As(err, &limit):
		param = limit.Param
	}
	return param, err
}

// isName reports whether a name is of letters, digits and what is in others.
func isName(s, others string) bool {
	for _, c := range []byte(s) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(others, c) >= 0) {
			return false
		}
	}
	return s != ""
}

func indexed(list string, i int) string { return list + "[" + strconv.Itoa(i) + "]" }
