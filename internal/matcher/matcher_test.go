package matcher

import (
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"cairn/internal/metric"
)

// TestAgainstRegexp compares short cuts with the regular expression run as it is.
func TestAgainstRegexp(t *testing.T) {
	pieces := []string{"a", "b", "ab", "|", "(", ")", ".*", ".+", ".", "[ab]", "[^a]", "?", "*", "^", "$", "(?i)", "a{2}", "\n", `\x{FFFD}`, `\.`, "é"}
	values := []string{"", "a", "b", "ab", "ba", "aa", "aab", "A", "AB", "\n", "a\nb", "\xff", "a\xff", "\uFFFD", ".", "é", "^", "$"}
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 7).Draw(t, "regexp"), "")
		m, err := New("k", Regexp, text)
		naive, bad := regexp.Compile("^(?s:" + text + ")$")
		_, alone := regexp.Compile(text)
		require.Equal(t, bad == nil && alone == nil, err == nil, "%q", text)
		if err != nil {
			return
		}
		for _, v := range values {
			require.Equal(t, naive.MatchString(v), m.MatchValue(v), "%q on %q", text, v)
		}
		if literals, ok := m.Literals(); ok {
			require.True(t, slices.IsSorted(literals))
		}
		if m.Every() {
			for _, v := range values {
				require.True(t, m.MatchValue(v))
			}
		}
	})
}

// TestMatchAgainstSets draws tagsets and compares Match with its definition.
func TestMatchAgainstSets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tags []metric.Tag
		var have []string
		for range rapid.IntRange(0, 4).Draw(t, "tags") {
			tag := metric.Tag{Key: rapid.SampledFrom([]string{"k", "l"}).Draw(t, "key"), Value: rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "value")}
			tags = append(tags, tag)
			if tag.Key == "k" {
				have = append(have, tag.Value)
			}
		}
		op := rapid.SampledFrom([]Op{Equal, NotEqual, Regexp, NotRegexp}).Draw(t, "op")
		value := rapid.SampledFrom([]string{"", "a", "a|b", ".*", ".+", "a?"}).Draw(t, "wanted")
		m, err := New("k", op, value)
		require.NoError(t, err)
		if len(have) == 0 {
			have = []string{""}
		}
		any := slices.ContainsFunc(have, func(v string) bool {
			if op == Equal || op == NotEqual {
				return v == value
			}
			return regexp.MustCompile("^(?:" + value + ")$").MatchString(v)
		})
		require.Equal(t, any == (op == Equal || op == Regexp), m.Match(metric.NewTagset(tags)))
		require.Equal(t, m.Match(metric.NewTagset(tags)), List{m, m}.Match(metric.NewTagset(tags)))
	})
	require.True(t, List(nil).Match(""))
}

// TestNativeMissing: a bare tag is not the same as none.
func TestNativeMissing(t *testing.T) {
	require.False(t, Any("k", false, Pattern{""}).Match(""))
	require.True(t, Any("k", true, Pattern{""}).Match(""))
	require.False(t, Any("k", false, Pattern{"", ""}).Match(""))
	require.True(t, Any("k", false, Pattern{""}).Match(metric.NewTagset([]metric.Tag{{Key: "k"}})))
}

// TestShortCuts: what people write needs no regular expression to be run.
func TestShortCuts(t *testing.T) {
	for text, want := range map[string]func(*Matcher) bool{
		".*": func(m *Matcher) bool { return m.Every() }, "^.*$": func(m *Matcher) bool { return m.Every() },
		".+": func(m *Matcher) bool { return m.nonempty }, "web-.*": func(m *Matcher) bool { return slices.Equal(m.prefixes, []string{"web-"}) },
		"web-1|web-2|db":  func(m *Matcher) bool { return slices.Equal(m.literals, []string{"db", "web-1", "web-2"}) },
		"(?:us|eu)-west?": func(m *Matcher) bool { return len(m.literals) == 4 },
	} {
		m, err := New("k", Regexp, text)
		require.NoError(t, err)
		require.True(t, m.regexp == nil && want(m), text)
	}
	m, err := New("k", Regexp, "[a-z]+-1")
	require.NoError(t, err)
	require.NotNil(t, m.regexp)
	m, err = New("k", Regexp, "(?i)web")
	require.NoError(t, err)
	require.True(t, m.MatchValue("WEB") && m.MatchValue("web"))
}

func TestErrors(t *testing.T) {
	for text, want := range map[string]string{
		"(a":                                          `the regular expression "(a" for the tag "k" cannot be read: missing closing ) at`,
		strings.Repeat("a", MaxRegexp+1):              "has 4097 bytes; 4096 are allowed",
		"a)|(b":                                       "cannot be read: unexpected )",
		"((a{1,1000}){1,1000}){1,1000}|bcd":           "cannot be read",
		strings.Repeat("(.?){1000}", 330):             `for the tag "k" has 1320331 steps once its repetitions are written out; 2000 are allowed`,
		"(?:.?){1001}|(?:.?){1000}":                   "cannot be read",
		strings.Repeat(`\pL`, 33):                     `has 33 classes as \pL; 32 are allowed`,
		"(?i)" + strings.Repeat("[A-𞥂]", 5):           "ignores case and has 5 ranges, some not of ASCII; 4 are allowed",
		"(?si:" + strings.Repeat(`[A-\xff]`, 9) + ")": "ignores case and has 9 ranges",
	} {
		_, err := New("k", Regexp, text)
		require.ErrorContains(t, err, want)
	}
	_, err := New("k", 9, "a")
	require.EqualError(t, err, `the tag "k" is compared with operator 9; there are =, !=, =~ and !~`)
}

// TestStepsAreNotFewer: an expression that passes compiles to no more than is allowed.
func TestStepsAreNotFewer(t *testing.T) {
	pieces := []string{"a", "|", "(", ")", "(?:", ".", "[ab]", "[^a]", "\\b", "^", "?", "*", "+", "{2}", "{3,}", "{0,4}", "{0}", "(?i)k", "é", "\\pL", "(?i:abc)"}
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 12).Draw(t, "regexp"), "")
		re, err := syntax.Parse(text, syntax.Perl|syntax.DotNL)
		if err != nil {
			return
		}
		n := steps(re)
		prog, err := syntax.Compile(re.Simplify())
		require.NoError(t, err)
		require.LessOrEqual(t, len(prog.Inst), n+2, "%q", text) // the failure and the end
	})
}

// TestWhatPeopleWriteIsNotTooMuch: bounds are for what nobody means.
func TestWhatPeopleWriteIsNotTooMuch(t *testing.T) {
	for _, text := range []string{
		"(?i)(web|db|cache)-[0-9]{1,3}[.](eu|us)-(west|east)-[1-9][.]example[.]com", "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
		".{0,200}", "(?i)[a-z0-9-]{1,63}([.][a-z0-9-]{1,63}){0,8}", `\p{Greek}+`, strings.Repeat("pod-[a-z0-9]+|", 200) + "x",
	} {
		_, err := New("k", Regexp, text)
		require.NoError(t, err)
	}
}

// TestManyLongLiterals: a sequence whose literals are few but long is not multiplied out part by part.
func TestManyLongLiterals(t *testing.T) {
	m, err := New("k", Regexp, "[a-h][a-h][a-h]"+strings.Repeat("(a)", 600))
	require.NoError(t, err)
	require.NotNil(t, m.regexp)
	require.True(t, m.MatchValue("abc"+strings.Repeat("a", 600)))
}

func FuzzRegexp(f *testing.F) {
	f.Add("web-(1|2).*", "web-1")
	f.Fuzz(func(t *testing.T, text, value string) {
		m, err := New("k", Regexp, text)
		if err != nil {
			return
		}
		if want := regexp.MustCompile("^(?s:" + text + ")$").MatchString(value); want != m.MatchValue(value) {
			t.Fatalf("%q on %q: want %v", text, value, want)
		}
	})
}
