package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEveryMistakeIsListed compares the list with what is planted in the sources.
func TestEveryMistakeIsListed(t *testing.T) {
	planted := map[string]bool{}
	on := regexp.MustCompile(`mutant\.On\("([a-z-]+)"\)`)
	const root = "../../.."
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "mutant" || strings.HasPrefix(d.Name(), ".") && path != root) {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range on.FindAllSubmatch(b, -1) {
			planted[string(m[1])] = true
		}
		return nil
	}))
	listed := map[string]bool{}
	for _, m := range mistakes {
		require.False(t, listed[m.name], "%s is listed twice", m.name)
		listed[m.name] = true
	}
	require.Equal(t, planted, listed)
}
