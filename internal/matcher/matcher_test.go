package matcher

import (
	"regexp"
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
		"(a":                                `the regular expression "(a" for the tag "k" cannot be read: missing closing ) at`,
		strings.Repeat("a", MaxRegexp+1):    "has 4097 bytes; 4096 are allowed",
		"a)|(b":                             "cannot be read: unexpected )",
		"((a{1,1000}){1,1000}){1,1000}|bcd": "cannot be read",
	} {
		_, err := New("k", Regexp, text)
		require.ErrorContains(t, err, want)
	}
	_, err := New("k", 9, "a")
	require.EqualError(t, err, `the tag "k" is compared with operator 9; there are =, !=, =~ and !~`)
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
