package lint

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v4"
)

const grafana = root + "/deploy/grafana"

// dashboard is as much of Grafana's JSON as is checked.
type dashboard struct {
	UID, Title    string
	SchemaVersion int
	Panels        []panel
	Templating    struct {
		List []struct {
			Name, Type string
			Query      any
			Datasource *dataSource
			Current    struct{ Value any }
		}
	}
}

type panel struct {
	ID          int
	Type, Title string
	GridPos     struct{ H, W, X, Y int }
	Datasource  *dataSource
	Targets     []struct {
		RefID, Expr, LegendFormat string
		Datasource                *dataSource
	}
}

type dataSource struct{ Type, UID string }

// provisioned returns the data sources' types by uid.
func provisioned(t *testing.T) map[string]string {
	t.Helper()
	b, err := os.ReadFile(grafana + "/provisioning/datasources/cairn.yaml")
	require.NoError(t, err)
	var f struct {
		APIVersion  int `yaml:"apiVersion"`
		Datasources []struct {
			Name, UID, Type, URL, Access string
			JSONData                     struct {
				HTTPMethod string `yaml:"httpMethod"`
			} `yaml:"jsonData"`
		}
	}
	require.NoError(t, yaml.Unmarshal(b, &f))
	require.Equal(t, 1, f.APIVersion)
	out := map[string]string{}
	for _, d := range f.Datasources {
		require.NotContains(t, out, d.UID)
		out[d.UID] = d.Type
	}
	d := f.Datasources[0]
	require.Equal(t, "prometheus", d.Type)
	require.Equal(t, "http://127.0.0.1:8127/prometheus", d.URL)
	require.Equal(t, "POST", d.JSONData.HTTPMethod)
	return out
}

func dashboards(t *testing.T) map[string]dashboard {
	t.Helper()
	paths, err := filepath.Glob(grafana + "/dashboards/*.json")
	require.NoError(t, err)
	require.Len(t, paths, 2)
	out, uids := map[string]dashboard{}, map[string]bool{}
	for _, p := range paths {
		b, err := os.ReadFile(p)
		require.NoError(t, err)
		var d dashboard
		require.NoError(t, json.Unmarshal(b, &d), p)
		require.NotEmpty(t, d.Title, p)
		require.Regexp(t, `^[a-zA-Z0-9_-]{1,40}$`, d.UID, p)
		require.False(t, uids[d.UID], "two dashboards have the uid %s", d.UID)
		uids[d.UID] = true
		out[filepath.Base(p)] = d
	}
	return out
}

// TestGrafanaPanels: panels have ids of their own, lie on the grid of 24 columns, and do not
// overlap.
func TestGrafanaPanels(t *testing.T) {
	for name, d := range dashboards(t) {
		ids := map[int]string{}
		taken := map[[2]int]string{}
		for _, p := range d.Panels {
			require.Positive(t, p.ID, "%s: %s", name, p.Title)
			require.Empty(t, ids[p.ID], "%s: %q and %q have the id %d", name, ids[p.ID], p.Title, p.ID)
			require.NotEmpty(t, p.Title, name)
			ids[p.ID] = p.Title
			g := p.GridPos
			require.True(t, g.X >= 0 && g.Y >= 0 && g.W > 0 && g.H > 0 && g.X+g.W <= 24, "%s: %q is at %+v", name, p.Title, g)
			for x := g.X; x < g.X+g.W; x++ {
				for y := g.Y; y < g.Y+g.H; y++ {
					require.Empty(t, taken[[2]int{x, y}], "%s: %q and %q overlap", name, taken[[2]int{x, y}], p.Title)
					taken[[2]int{x, y}] = p.Title
				}
			}
		}
		require.GreaterOrEqual(t, len(ids), 8, name)
	}
}

var variable = regexp.MustCompile(`\$(?:\{([a-zA-Z_][a-zA-Z0-9_]*)[^}]*\}|([a-zA-Z_][a-zA-Z0-9_]*))`)

// TestGrafanaReferences: each data source that is named is provisioned or chosen by a
// variable, and each variable is there.
func TestGrafanaReferences(t *testing.T) {
	sources := provisioned(t)
	for name, d := range dashboards(t) {
		types := map[string]string{}
		for _, v := range d.Templating.List {
			require.NotContains(t, types, v.Name, name)
			types[v.Name] = v.Type
			if v.Type == "datasource" {
				require.Equal(t, "prometheus", v.Query, name)
				if uid, ok := v.Current.Value.(string); ok {
					require.Equal(t, "prometheus", sources[uid], "%s: %s begins with %q", name, v.Name, uid)
				}
			}
		}
		resolve := func(ds *dataSource, of string) {
			t.Helper()
			require.NotNil(t, ds, "%s: %s has no data source", name, of)
			require.Equal(t, "prometheus", ds.Type, "%s: %s", name, of)
			if m := variable.FindStringSubmatch(ds.UID); m != nil {
				require.Equal(t, "datasource", types[m[1]], "%s: %s", name, of)
				return
			}
			require.Equal(t, "prometheus", sources[ds.UID], "%s: %s has the data source %q", name, of, ds.UID)
		}
		known := func(text, of string) {
			t.Helper()
			for _, m := range variable.FindAllStringSubmatch(text, -1) {
				v := m[1] + m[2]
				require.True(t, strings.HasPrefix(v, "__") || types[v] != "", "%s: %s uses $%s, which is no variable", name, of, v)
			}
		}
		for _, v := range d.Templating.List {
			if v.Type == "query" {
				resolve(v.Datasource, "variable "+v.Name)
				q, ok := v.Query.(map[string]any)
				require.True(t, ok, v.Name)
				known(q["query"].(string), "variable "+v.Name)
			}
		}
		for _, p := range d.Panels {
			known(p.Title, "the title of "+p.Title)
			if p.Type == "row" {
				continue
			}
			resolve(p.Datasource, p.Title)
			require.NotEmpty(t, p.Targets, "%s: %s", name, p.Title)
			var refs []string
			for _, q := range p.Targets {
				require.NotContains(t, refs, q.RefID, "%s: %s", name, p.Title)
				refs = append(refs, q.RefID)
				require.NotEmpty(t, q.Expr, "%s: %s", name, p.Title)
				require.Equal(t, strings.Count(q.Expr, "("), strings.Count(q.Expr, ")"), q.Expr)
				resolve(q.Datasource, p.Title)
				known(q.Expr+" "+q.LegendFormat, p.Title)
			}
		}
	}
	var names []string
	for _, v := range dashboards(t)["counts.json"].Templating.List {
		names = append(names, v.Name)
	}
	require.Subset(t, names, []string{"metric", "tag"})
}

// TestGrafanaFigures: what the overview asks for is what docs/metrics.md lists, and the
// dashboard of counts knows no metric by name.
func TestGrafanaFigures(t *testing.T) {
	doc, err := os.ReadFile(root + "/docs/metrics.md")
	require.NoError(t, err)
	listed := regexp.MustCompile("(?m)^\\| `(cairn_[a-z0-9_]+)`").FindAllStringSubmatch(string(doc), -1)
	var figures []string
	for _, m := range listed {
		figures = append(figures, m[1])
	}
	require.Greater(t, len(figures), 50, "the table is not read")
	name := regexp.MustCompile(`\bcairn_[a-z0-9_]+`)
	for file, d := range dashboards(t) {
		asked := 0
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				for _, n := range name.FindAllString(q.Expr, -1) {
					asked++
					require.True(t, slices.Contains(figures, n), "%s: %q asks for %s, which docs/metrics.md does not list", file, p.Title, n)
				}
			}
		}
		require.Equal(t, file == "cairn.json", asked > 0, file)
	}
}
