//go:build mutants

package mutant

import "os"

// On reports whether the mistake is the one that CAIRN_MUTANT names.
func On(name string) bool { return os.Getenv("CAIRN_MUTANT") == name }
