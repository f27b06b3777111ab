#!/bin/sh
# Makes or repairs the virtual environment of this project; `make` calls it when something is missing or changed.
# usage: scripts/install.sh PYTHON VENV      (from the project's root)
set -eu

main() {
    python=$1 venv=$2
    version=$(supported_version_of "$python")
    make_venv "$python" "$version" "$venv"

    # Left behind only when an install does not get to its end: the next one then starts from an empty environment,
    # because pip takes a half-unpacked package for an installed one. What was downloaded is still in pip's cache.
    touch "$venv/.installing"

    say "Installing the pinned packages of requirements.lock into $venv."
    say "On Linux, PyTorch and its CUDA libraries are some 3 GB to download and 6 GB on disk: this takes a few minutes."
    # These two first: older pips give up on a download that breaks off, and the few packages without a wheel are then
    # built by a setuptools whose hash was checked instead of by whatever is newest.
    mkdir -p "$venv/tmp"
    entries_of pip setuptools > "$venv/tmp/first.txt"
    run_pip "$venv" --require-hashes -r "$venv/tmp/first.txt"
    run_pip "$venv" --require-hashes --no-build-isolation -r requirements.lock

    install_detectron2 "$venv"
    run_pip "$venv" --no-deps --no-build-isolation --editable .
    rm -rf "$venv/tmp" "$venv/.installing"
    say "Installed: $("$venv/bin/python" -c 'import platform; print("Python", platform.python_version())') in $venv."
}

# The version (3.11) of a Python that can be used, or one line on what is missing.
supported_version_of() {
    command -v "$1" > /dev/null 2>&1 ||
        refuse "There is no '$1' here. Install Python 3.10 to 3.13, or name yours: make PYTHON=/path/to/python3.12 ..."
    version=$("$1" -c 'import sys; sys.stdout.write("%d.%d" % sys.version_info[:2])' 2> /dev/null) ||
        refuse "'$1' is here but does not run. Name a Python 3.10 to 3.13 that does: make PYTHON=/path/to/python3.12 ..."
    case $version in
        3.10 | 3.11 | 3.12 | 3.13) ;;
        *) refuse "'$1' is Python $version, and 3.10 to 3.13 are supported. Name another: make PYTHON=/path/to/python3.12 ..." ;;
    esac
    "$1" -c 'import ensurepip, venv' > /dev/null 2>&1 ||
        refuse "'$1' cannot make virtual environments. On Debian and Ubuntu: apt install python$version-venv"
    printf '%s' "$version"
}

make_venv() {
    clear=
    # A marker of an interrupted install, a moved or half-made environment, or one of another Python version.
    if [ -e "$3/.installing" ] || [ "$(version_inside "$3")" != "$2" ]; then clear=--clear; fi
    if [ -e "$3" ] && [ -n "$clear" ]; then say "$3 is incomplete or of another Python: recreating it."; fi
    "$1" -m venv $clear "$3" || refuse "'$1' could not make a virtual environment in $3; it says why above."
}

version_inside() {
    "$1/bin/python" -c 'import pip, sys; sys.stdout.write("%d.%d" % sys.version_info[:2])' 2> /dev/null || :
}

# The entries of requirements.lock for these packages, with their hashes.
entries_of() {
    for name in "$@"; do sed -n "/^$name==/,/[^\\\\]\$/p" requirements.lock; done
}

# Any detectron2 is welcome: one that the user put here, perhaps compiled with its CUDA operators, is left alone.
install_detectron2() {
    case $(which_detectron2 "$1") in
        none) run_pip "$1" --no-deps --no-build-isolation ./scripts/detectron2 ;;
        ours) run_pip "$1" --no-deps --no-build-isolation --force-reinstall ./scripts/detectron2 ;;
        *) say "Keeping the detectron2 that is already in $1." ;;
    esac
}

which_detectron2() {
    "$1/bin/python" - <<'EOF'
from importlib.metadata import PackageNotFoundError, files
try:
    names = [file.name for file in files("detectron2") or ()]
except PackageNotFoundError:
    print("none")
else:
    print("ours" if "ORIGIN.txt" in names else "theirs")
EOF
}

# pip install, showing large downloads and the installing itself; errors and warnings pass through unfiltered.
run_pip() {
    venv_of_pip=$1
    shift
    mkdir -p "$venv_of_pip/tmp"
    {
        "$venv_of_pip/bin/python" -m pip --disable-pip-version-check install --progress-bar off "$@" && status=0 || status=$?
        echo "$status" > "$venv_of_pip/tmp/status"
    } | awk '/(Downloading|Using cached) .*([0-9][0-9]\.[0-9]|[0-9][0-9][0-9]) MB|GB\)/ { print "  " $0; fflush() }
             /^Installing collected packages:/ { print "  Installing " (NF > 6 ? NF - 3 " packages" : substr($0, 32)); fflush() }'
    [ "$(cat "$venv_of_pip/tmp/status")" = 0 ] ||
        refuse "pip could not install everything; it says why above. The same make command tries again."
}

say() { printf '%s\n' "$*"; }

refuse() {
    printf '%s\n' "$*" >&2
    exit 2
}

main "$@"
