#!/bin/sh
# Installs the clients that TestClient* send with, where they are missing:
# those of Debian with apt-get, which takes root, and those of npm into
# .tools/clients, pinned by package-lock.json. It can be run any number of times.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
tools=$here/../../../.tools/clients

# Debian's own interpreters are asked, not whatever else is first in PATH: the
# packages are for them, and the tests run them.
missing=
/usr/bin/python3 -c 'import statsd' 2>/dev/null || missing="$missing python3-statsd"
/usr/bin/python3 -c 'import aiodogstatsd' 2>/dev/null || missing="$missing python3-aiodogstatsd"
/usr/bin/ruby -e 'require "statsd"' 2>/dev/null || missing="$missing ruby-statsd"
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

# Over Unix sockets hot-shots sends with a module in C, which npm builds; where
# there is no compiler, the test leaves that out.
if [ -d "$tools/node_modules/hot-shots" ] && [ -d "$tools/node_modules/unix-dgram" ] && cmp -s "$here/package-lock.json" "$tools/package-lock.json"; then
	exit 0
fi
mkdir -p "$tools"
cp "$here/package.json" "$here/package-lock.json" "$tools"
(cd "$tools" && npm ci --no-audit --no-fund)
