package lint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// imports is the table of packages, by rank: what each may import of ours. A new
// package gets a row here, and imports lower ranks only.
var imports = map[string][]string{
	// 0, vocabulary
	"internal/metric":    {},
	"internal/clock":     {},
	"internal/bucket":    {"internal/metric"},
	"internal/chunk":     {"internal/metric", "internal/bucket"},
	"internal/matcher":   {"internal/metric"},
	"internal/tally":     {},
	"internal/mutant":    {},
	"internal/dirsync":   {"internal/mutant"},
	"internal/crashdisk": {},
	// 1, a second reading of lines: it shares nothing with the first
	"internal/reference": {"internal/metric"},
	// 1, mechanisms: none imports another
	"agg":              {"internal/metric", "internal/clock", "internal/mutant", "internal/bucket"},
	"tsdb":             {"internal/dirsync", "internal/metric", "internal/clock", "internal/mutant", "internal/bucket", "internal/chunk", "internal/matcher"},
	"internal/dedupe":  {"internal/metric", "internal/clock", "internal/mutant"},
	"internal/journal": {"internal/dirsync", "internal/metric", "internal/clock", "internal/mutant"},
	// 2, stages
	"ingest": {"internal/metric", "internal/clock", "internal/mutant", "internal/bucket", "internal/journal", "internal/dedupe", "agg"},
	"query":  {"internal/metric", "internal/clock", "internal/bucket", "internal/matcher"},
	// on top of query, and the only one that knows Prometheus' code
	"query/promql": {"internal/metric", "internal/clock", "internal/bucket", "internal/matcher", "query"},
	// 3, edges; flush is what connects the mechanisms, and ledger and selfmon read
	// it. In this order, so that there is no circle.
	"internal/dashboard": {"query"},
	"web":                {"internal/metric", "internal/clock", "internal/dashboard", "agg", "ingest", "query", "query/promql"},
	"internal/flush":     {"internal/metric", "internal/clock", "internal/mutant", "internal/bucket", "internal/journal", "internal/matcher", "agg", "tsdb", "query"},
	"internal/ledger":    {"internal/metric", "internal/clock", "internal/dedupe", "ingest", "query", "internal/flush"},
	"internal/selfmon": {
		"internal/metric", "agg", "tsdb", "internal/journal", "internal/dedupe", "ingest", "query", "internal/flush", "internal/ledger",
	},
	"internal/reconcile": {
		"internal/metric", "internal/clock", "internal/bucket", "internal/reference", "internal/journal", "agg", "tsdb", "ingest", "internal/flush",
	},
	"internal/engine": {
		"internal/dirsync", "internal/metric", "internal/clock", "internal/mutant", "internal/bucket", "internal/tally", "internal/matcher", "internal/journal", "internal/dedupe", "agg", "tsdb",
		"ingest", "query", "internal/flush", "internal/reconcile",
	},
	// beside them: what other services import, so that it imports nothing of ours
	"client": {},
	// 4, composition
	"internal/config": {"internal/metric"},
	"internal/app": {
		"internal/metric", "internal/clock", "internal/dedupe", "agg", "tsdb", "ingest", "query", "web", "internal/flush", "internal/engine",
		"internal/ledger", "internal/selfmon", "internal/config",
	},
	"internal/cli":  {"internal/metric", "internal/clock", "query", "internal/config", "internal/app", "internal/engine", "internal/reconcile"},
	".":             {"internal/cli"},
	"internal/lint": {},
	"internal/e2e":  {},
	// beside them: programs that measure the built one from outside, and what they share
	"internal/bench/child":  {},
	"internal/bench/report": {},
	"internal/bench/ingest": {"internal/clock", "internal/bench/child", "internal/bench/report"},
	"internal/bench/query":  {"internal/metric", "internal/clock", "internal/bench/child", "internal/bench/report", "tsdb"},
	"internal/bench/store": {
		"internal/metric", "internal/clock", "internal/bucket", "internal/chunk", "internal/matcher", "agg", "tsdb", "ingest", "query", "internal/flush",
		"internal/engine", "internal/bench/child", "internal/bench/report",
	},
	"internal/bench/client": {"client"}, // a module of its own
	"internal/mutant/hunt":  {"internal/clock"},
}

type file struct {
	path, dir string // with slashes, from the root
	test      bool
	lines     int
	ast       *ast.File
	fset      *token.FileSet
}

const root = "../.."

// sources parses all Go files of the module.
func sources(t *testing.T) []file {
	t.Helper()
	var out []file
	fset := token.NewFileSet()
	require.NoError(t, filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && d.Name() != ".." && strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules" {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") {
			return nil
		}
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		out = append(out, file{
			path: rel, dir: filepath.ToSlash(filepath.Dir(rel)), test: strings.HasSuffix(rel, "_test.go"),
			lines: fset.File(f.FileStart).LineCount(), ast: f, fset: fset,
		})
		return nil
	}))
	require.Greater(t, len(out), 40, "the walk has missed the sources")
	return out
}

func TestImportsFollowTheRanks(t *testing.T) {
	for _, f := range sources(t) {
		allowed, ok := imports[f.dir]
		if !ok {
			t.Errorf("%s: package %s is not in the table of imports", f.path, f.dir)
			continue
		}
		if f.test {
			continue // a test may set up more than its package knows
		}
		for _, spec := range f.ast.Imports {
			p, err := strconv.Unquote(spec.Path.Value)
			require.NoError(t, err)
			if p, ours := strings.CutPrefix(p, "cairn/"); ours && !slices.Contains(allowed, p) {
				t.Errorf("%s imports %s, which the table does not allow", f.path, p)
			}
			if strings.Contains(p, "prometheus/prometheus") && f.dir != "query/promql" {
				t.Errorf("%s imports %s; only query/promql may", f.path, p)
			}
			if strings.Contains(p, "cockroachdb/pebble") && !slices.Contains([]string{"tsdb", "internal/crashdisk", "internal/dirsync", "internal/journal", "internal/engine", "internal/app", "internal/bench/store"}, f.dir) {
				t.Errorf("%s imports %s; the store is behind tsdb, and the journal takes its file system only", f.path, p)
			}
		}
	}
}

// calls lists what only some packages may call.
var calls = map[string][]string{
	"time.Now":    {"internal/clock", "client"},
	"time.Since":  {"internal/clock", "client"},
	"time.Until":  {},
	"time.Sleep":  {},
	"time.Tick":   {},
	"time.After":  {}, // a timer that nobody stops
	"os.Exit":     {".", "internal/cli", "internal/bench/ingest", "internal/bench/query", "internal/bench/store", "internal/mutant/hunt"},
	"log.Fatal":   {},
	"os.Open":     {},
	"os.Create":   {"internal/bench/ingest", "internal/bench/store"},
	"os.OpenFile": {"internal/tally", "client"},
	"os.ReadFile": {"client", "internal/config", "internal/bench/ingest", "internal/bench/query", "internal/bench/report", "internal/bench/store", "internal/tally"},
	"os.Getenv":   {"internal/mutant", "client"},
	"fmt.Print":   {},
	"fmt.Println": {},
	"fmt.Printf":  {},
}

func TestOnlySomeMayCall(t *testing.T) {
	for _, f := range sources(t) {
		if f.test {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if pkg, ok := sel.X.(*ast.Ident); ok && pkg.Obj == nil {
				name := pkg.Name + "." + sel.Sel.Name
				if allowed, limited := calls[name]; limited && !slices.Contains(allowed, f.dir) {
					t.Errorf("%s: %s is for %v only", f.fset.Position(n.Pos()), name, allowed)
				}
			}
			return true
		})
	}
}

func TestNoWorkAtInit(t *testing.T) {
	for _, f := range sources(t) {
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s: init does work that nobody asked for", f.path)
			}
		}
	}
}

func TestGoroutinesAreWatched(t *testing.T) {
	starts, watched := map[string]string{}, map[string]bool{}
	for _, f := range sources(t) {
		for _, spec := range f.ast.Imports {
			if f.test && spec.Path.Value == `"go.uber.org/goleak"` {
				watched[f.dir] = true
			}
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				starts[f.dir] = f.path
			case *ast.SelectorExpr:
				if n.Sel.Name == "Go" {
					starts[f.dir] = f.path
				}
			}
			return true
		})
	}
	for dir, path := range starts {
		if !watched[dir] {
			t.Errorf("%s starts goroutines, and no test of %s uses goleak", path, dir)
		}
	}
}

func TestSizes(t *testing.T) {
	const maxFile, maxFunc = 500, 70
	for _, f := range sources(t) {
		if f.lines > maxFile {
			t.Errorf("%s has %d lines; about %d are allowed", f.path, f.lines, maxFile)
		}
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || f.test {
				continue
			}
			n := f.fset.Position(fn.End()).Line - f.fset.Position(fn.Pos()).Line + 1
			if n > maxFunc {
				t.Errorf("%s: %s has %d lines; about %d are allowed", f.path, fn.Name.Name, n, maxFunc)
			}
		}
	}
}

func TestPackagesHaveADocAndAName(t *testing.T) {
	documented := map[string]bool{}
	for _, f := range sources(t) {
		if f.ast.Doc != nil && !f.test {
			documented[f.dir] = true
		}
		for _, bad := range []string{"util", "utils", "common", "manager", "helper", "helpers", "misc"} {
			if f.ast.Name.Name == bad {
				t.Errorf("%s: %q says nothing about what is in the package", f.path, bad)
			}
		}
	}
	for dir := range imports {
		if !documented[dir] {
			t.Errorf("package %s has no doc", dir)
		}
	}
}
