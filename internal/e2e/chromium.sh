#!/bin/sh
# Prints the path of a Chromium or Chrome, which it installs on Debian if it runs
# as root; prints nothing, and says so loudly, where there is none.
set -u
find_it() {
	for name in "${CAIRN_CHROME:-}" chromium chromium-browser google-chrome google-chrome-stable; do
		[ -n "$name" ] && command -v "$name" && return 0
	done
	return 1
}
find_it && exit 0
if [ "$(id -u)" = 0 ] && [ -f /etc/debian_version ]; then
	echo "Installing Debian's chromium for the browser tests." >&2
	export DEBIAN_FRONTEND=noninteractive
	{ apt-get update -q && apt-get install -y -q --no-install-recommends chromium fonts-dejavu-core; } >/tmp/cairn-chromium-install.log 2>&1 ||
		tail -n 5 /tmp/cairn-chromium-install.log >&2
	find_it && exit 0
fi
echo "*** NO CHROMIUM: THE BROWSER TESTS ARE SKIPPED; install chromium or Chrome, or set CAIRN_CHROME to its path ***" >&2
