#!/bin/sh
# packages.sh WHAT...: installs into /opt/openclaw what pip's words name. Wheels that lie next to this file, pip's own
# among them, are used instead of PyPI.
set -eu
cd "$(dirname "$0")"
[ -x /opt/openclaw/bin/python3 ] || python3 -m venv --without-pip /opt/openclaw
pip="python3 -m pip"
options=""
for wheel in pip-*.whl; do
    [ -e "$wheel" ] || continue
    pip="python3 $wheel/pip"
    options="--no-index --find-links ."
done
if ! $pip --version >/dev/null 2>&1; then
    apt-get update -o APT::Update::Error-Mode=any
    apt-get install -y --no-install-recommends python3-pip
fi
# shellcheck disable=SC2086
$pip --python /opt/openclaw/bin/python3 install --disable-pip-version-check --root-user-action ignore --quiet \
    --no-cache-dir --no-compile $options "$@"
# Checked by no time stamp, so that the same sources give the same files.
/opt/openclaw/bin/python3 -m compileall -q --invalidation-mode unchecked-hash /opt/openclaw/lib
