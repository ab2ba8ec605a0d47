#!/bin/sh
# For a machine that has not even make: installs it, then what `make deps` names. Debian or Ubuntu, as root or by sudo.
set -e
cd "$(dirname "$0")"
if ! command -v make >/dev/null; then
  [ "$(id -u)" -eq 0 ] || sudo=sudo
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get update -qq
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends make
fi
make -s deps
