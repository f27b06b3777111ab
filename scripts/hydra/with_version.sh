#!/bin/sh
# Runs tests with another Hydra than the installed one, which stays as it is:
#     sh scripts/hydra/with_version.sh 'hydra-core==1.4.0rc3' [pytest arguments; tests/pool/test_hydra_suites.py without]
# The other one lies in a folder of its own, before everything that is installed in .venv.
set -eu
version=$1
shift
here=$(cd "$(dirname "$0")/../.." && pwd)
python="$here/.venv/bin/python"
[ $# -gt 0 ] || set -- tests/pool/test_hydra_suites.py
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

"$python" -m venv --without-pip "$folder"
installed=$("$python" -c "import pytest, os; print(os.path.dirname(os.path.dirname(pytest.__file__)))")
uv=$(command -v uv || echo "$installed/../../../bin/uv")
"$uv" pip install --quiet --prerelease=allow --python "$folder/bin/python" "$version"
site=$("$folder/bin/python" -c "import sysconfig; print(sysconfig.get_paths()['purelib'])")
printf '%s\n%s\n' "$here" "$installed" > "$site/installed.pth"

cd "$here"
"$folder/bin/python" -c "import hydra; print('hydra-core', hydra.__version__)"
"$folder/bin/python" -m pytest -q -p no:cacheprovider "$@"
