#!/bin/sh
# Sees to it that this machine has the system packages that a make target needs.
#
#   build/bootstrap.sh NEED...      NEED: run, test, static, release, appliance, emulator, machine, reproducible, container
#
# Looks each time, and at the things themselves (commands, modules), so that nothing remembered can be wrong; a machine
# that has all of it is done in a fraction of a second. What is missing is installed with apt-get where that can be done
# without asking (root on a Debian system); anywhere else one line says what to install, and the exit code is 1.
#
# Some of the packages bring a daemon (docker.io, docker-registry, nginx, squid, tinyproxy). The tests start what they
# need by themselves, with files and ports of their own, so the daemons of packages installed here are neither started
# nor enabled; those that were there before are left as they are.
set -eu

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
: "${PYTHON:=python3}"
missing=

want() { # PACKAGE TEST...: PACKAGE is missing unless TEST succeeds
    package=$1
    shift
    if ! "$@" >/dev/null 2>&1; then
        missing="$missing $package"
    fi
}

commands() { # PACKAGE:COMMAND...
    for pair in "$@"; do
        want "${pair%%:*}" command -v "${pair#*:}"
    done
}

need_run() {
    if command -v "$PYTHON" >/dev/null 2>&1; then
        if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
            echo "bootstrap: $PYTHON is older than Python 3.11; name a newer one: make PYTHON=python3.12 ..." >&2
            exit 1
        fi
    fi
    want python3 command -v "$PYTHON"
    want python3-venv "$PYTHON" -c 'import ensurepip, ssl, venv'
    want ca-certificates test -e /etc/ssl/certs/ca-certificates.crt -o -e /etc/pki/tls/certs/ca-bundle.crt
}

need_test() {
    need_run
    commands \
        docker-registry:docker-registry skopeo:skopeo podman:podman docker.io:dockerd \
        containerd:containerd containerd:ctr runc:runc umoci:umoci nginx:nginx squid:squid tinyproxy:tinyproxy \
        golang-docker-credential-helpers:docker-credential-pass pass:pass gnupg:gpg curl:curl openssl:openssl \
        xz-utils:xz procps:ps iproute2:ip faketime:faketime git:git tmux:tmux util-linux:unshare mount:mount zsh:zsh fish:fish groff-base:groff
    want time test -x /usr/bin/time
    # From Debian 13 on, the client is a package of its own.
    if apt-cache show docker-cli >/dev/null 2>&1; then
        commands docker-cli:docker
    else
        commands docker.io:docker
    fi
}

need_static() {
    need_run
    commands binutils:objcopy
    # PyInstaller packs the interpreter's shared library, which Debian keeps in a package of its own.
    # Where there is no Python yet, its version, and so the package's name, is known once it is installed.
    case $(command -v "$PYTHON") in
    /usr/bin/*)
        version=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        want "libpython$version" "$PYTHON" -c 'if True:
            import ctypes, sysconfig
            ctypes.CDLL(sysconfig.get_config_var("INSTSONAME"))'
        ;;
    esac
}

need_release() {
    need_static
    commands git:git dpkg:dpkg-deb
}

need_appliance() {
    need_release
    # The compiler is for the tests of the launcher; what is shipped is compiled by a wheel's compiler.
    commands gcc:gcc bubblewrap:bwrap strace:strace systemd:systemd-analyze lintian:lintian
    want libc6-dev test -e /usr/include/stdio.h
}

need_reproducible() {
    need_static
    commands faketime:faketime util-linux:setpriv
}

need_emulator() {
    # Which one, the target says (build/targets); the package has all of them.
    commands "qemu-user-static:${EMULATOR:-qemu-aarch64-static}" iproute2:ip
}

need_machine() {
    commands qemu-system-arm:qemu-system-arm dpkg:dpkg-deb
}

need_container() {
    need_run
    commands buildah:buildah debootstrap:debootstrap
}

look() {
    missing=
    for need in "$@"; do
        case $need in
        run | test | static | release | appliance | emulator | machine | reproducible | container) "need_$need" ;;
        *)
            echo "usage: build/bootstrap.sh run|test|static|release|appliance|emulator|machine|reproducible|container ..." >&2
            exit 2
            ;;
        esac
    done
    # shellcheck disable=SC2086 # the list is split on purpose
    missing=$(printf '%s\n' $missing | sort -u | tr '\n' ' ')
    missing=${missing% }
}

apt() {
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@"
}

install_packages() { # PACKAGE...
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap 'rm -f "$policy"' EXIT
        trap 'exit 130' INT
        trap 'exit 143' TERM
        printf '#!/bin/sh\n# written by dockersave/build/bootstrap.sh: start no daemon while it installs\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    units_before=$(units)
    log=$(mktemp)
    if ! apt install --no-install-recommends "$@" >"$log" 2>&1; then
        # The list of packages was never fetched, or is stale.
        { apt update && apt install --no-install-recommends "$@"; } >"$log" 2>&1 || {
            cat "$log" >&2
            rm -f "$log"
            echo "bootstrap: apt-get could not install: $*" >&2
            exit 1
        }
    fi
    rm -f "$log"
    for unit in $(units); do
        case " $units_before " in
        *" $unit "*) ;;
        *) systemctl --quiet disable "$unit" >/dev/null 2>&1 || true ;;
        esac
    done
}

units() { # the daemons among our packages that this machine knows
    for unit in docker.socket docker.service containerd.service docker-registry.service nginx.service squid.service \
        tinyproxy.service; do
        if [ -e "/lib/systemd/system/$unit" ]; then
            printf '%s ' "$unit"
        fi
    done
}

look "$@"
if [ -z "$missing" ]; then
    exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "bootstrap: missing here: $missing (as root on Debian: apt-get install --no-install-recommends $missing)" >&2
    exit 1
fi
before=
while [ -n "$missing" ]; do
    if [ "$missing" = "$before" ]; then
        echo "bootstrap: still missing after installing: $missing" >&2
        exit 1
    fi
    before=$missing
    echo "bootstrap: installing $missing" >&2
    # shellcheck disable=SC2086
    install_packages $missing
    look "$@"
done
