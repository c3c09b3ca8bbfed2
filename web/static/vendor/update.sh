#!/bin/sh
# Rebuilds this folder from the npm registry: `sh update.sh`, then review `git diff` and
# copy versions and checksums into README.md.
#
# The page runs under a content security policy without inline scripts, so it cannot have an
# import map. The bare specifiers in the packages are therefore rewritten to relative ones, and
# source map comments are dropped because the maps are not shipped. Nothing else is changed.
set -eu

PREACT=11.2.0
HTM=3.1.1
SIGNALS=2.11.4
SIGNALS_CORE=1.14.5
UPLOT=1.6.32

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# fetch <package> <version> <folder>: unpacks the published tarball.
fetch() {
	mkdir -p "$work/$3"
	tarball=$(cd "$work" && npm pack --silent "$1@$2")
	tar -xzf "$work/$tarball" -C "$work/$3" --strip-components=1
}

# vendor <from> <to>: copies one module with its specifiers rewritten.
vendor() {
	sed -E \
		-e 's#(from ?)"@preact/signals-core"#\1"./signals-core.js"#g' \
		-e 's#(from ?)"preact/hooks"#\1"./hooks.js"#g' \
		-e 's#(from ?)"preact"#\1"./preact.js"#g' \
		-e 's#//\# sourceMappingURL=.*$##' \
		"$work/$1" >"$here/$2"
}

fetch preact "$PREACT" preact
fetch htm "$HTM" htm
fetch @preact/signals "$SIGNALS" signals
fetch @preact/signals-core "$SIGNALS_CORE" signals-core
fetch uplot "$UPLOT" uplot

vendor preact/dist/preact.mjs preact.js
vendor preact/hooks/dist/hooks.mjs hooks.js
vendor htm/dist/htm.module.js htm.js
vendor signals/dist/signals.module.js signals.js
vendor signals-core/dist/signals-core.module.js signals-core.js
vendor uplot/dist/uPlot.esm.js uplot.js
cp "$work/uplot/dist/uPlot.min.css" "$here/uplot.css"
cp "$work/uplot/dist/uPlot.d.ts" "$here/uplot.d.ts"

cp "$work/preact/LICENSE" "$here/LICENSE.preact"
cp "$work/htm/LICENSE" "$here/LICENSE.htm"
cp "$work/signals/LICENSE" "$here/LICENSE.signals"
cp "$work/signals-core/LICENSE" "$here/LICENSE.signals-core"
cp "$work/uplot/LICENSE" "$here/LICENSE.uplot"

(cd "$here" && sha256sum ./*.js ./*.css)
