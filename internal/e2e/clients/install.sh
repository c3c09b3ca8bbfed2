#!/bin/sh
# Installs the clients that TestClient* send counts with, where they are missing:
# those of Debian with apt-get, which takes root, and those of npm into
# .tools/clients, pinned by package-lock.json. It can be run any number of times.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
tools=$here/../../../.tools/clients

# Debian's own interpreters are asked, not whatever else is first in PATH: the
# packages are for them, and the tests run them.
missing=
/usr/bin/python3 -c 'import statsd' 2>/dev/null || missing="$missing python3-statsd"
[ -x /usr/bin/gunicorn ] || missing="$missing gunicorn"
/usr/bin/perl -MNet::Statsd -e 1 2>/dev/null || missing="$missing libnet-statsd-perl"
command -v nc.openbsd >/dev/null || missing="$missing netcat-openbsd"
# Any Node.js will do, so that one from elsewhere is not replaced.
command -v node >/dev/null || missing="$missing nodejs"
command -v npm >/dev/null || missing="$missing npm"

if [ -n "$missing" ]; then
	if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
		echo "install.sh: missing:$missing; on Debian, run this as root" >&2
		exit 1
	fi
	echo "installing$missing"
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -q
	# shellcheck disable=SC2086 # one word each
	apt-get install -y -q --no-install-recommends $missing
fi

if [ -d "$tools/node_modules/hot-shots" ] && cmp -s "$here/package-lock.json" "$tools/package-lock.json"; then
	exit 0
fi
mkdir -p "$tools"
cp "$here/package.json" "$here/package-lock.json" "$tools"
# Its optional part is for Unix sockets, and takes a compiler.
(cd "$tools" && npm ci --omit=optional --ignore-scripts --no-audit --no-fund)
