# What asks apt with a state of its own, so nothing changes on this machine, and any architecture will do. To be sourced.

mirror=${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' | head -n 1)}
mirror=${mirror%/}

use_suite() { # DIR SUITE ARCHITECTURE: has apt know these packages, with its state in DIR
    mkdir -p "$1/state/lists/partial" "$1/cache/archives/partial" "$1/etc/apt.conf.d" "$1/etc/preferences.d"
    for of in "$mirror $2" "$mirror $2-updates" "$mirror-security $2-security"; do
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $of main"
    done >"$1/etc/sources.list"
    : >"$1/status"
    cat >"$1/apt.conf" <<EOF
Dir::State "$1/state";
Dir::State::status "$1/status";
Dir::Cache "$1/cache";
Dir::Etc "$1/etc";
APT::Architecture "$3";
APT::Architectures "$3";
APT::Sandbox::User "";
EOF
    export APT_CONFIG="$1/apt.conf"
    # Of a suite that cannot be fetched just now apt says so, and another one has the package, too.
    apt-get -qq update || true
}
