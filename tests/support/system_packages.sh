#!/bin/sh
# Installs the Debian packages that the tests use, where we may; says what is missing where we may not.
set -eu
missing=""
command -v chromium >/dev/null 2>&1 || missing="$missing chromium"
command -v ngircd >/dev/null 2>&1 || [ -x /usr/sbin/ngircd ] || missing="$missing ngircd"
[ -x /usr/sbin/inspircd ] || missing="$missing inspircd"
[ -x /usr/bin/atheme-services ] || command -v atheme-services >/dev/null 2>&1 || missing="$missing atheme-services"
command -v dockerd >/dev/null 2>&1 || [ -x /usr/sbin/dockerd ] || missing="$missing docker.io"
command -v iptables >/dev/null 2>&1 || [ -x /usr/sbin/iptables ] || missing="$missing iptables"
command -v mmdebstrap >/dev/null 2>&1 || missing="$missing mmdebstrap"
# Not every release has it; its tests are skipped without.
extra=""
command -v runsc >/dev/null 2>&1 || extra=" runsc"
[ -n "$missing$extra" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    apt-get update -qq
    apt-cache show runsc >/dev/null 2>&1 || extra=""
    [ -n "$missing$extra" ] || exit 0
    echo "installing$missing$extra" >&2
    # policy-rc.d keeps the packages from starting their servers: the tests start their own.
    printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d && chmod +x /usr/sbin/policy-rc.d
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing $extra >/dev/null
    rm -f /usr/sbin/policy-rc.d
else
    echo "missing:$missing$extra (tests that need them are skipped; with CI set they fail)" >&2
    echo "hint: sudo apt-get install$missing$extra" >&2
fi
