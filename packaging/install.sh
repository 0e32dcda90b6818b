#!/bin/sh
# Install Consilium from this folder into an environment of its own; nothing is downloaded.   install.sh /opt/consilium
set -eu
[ $# = 1 ] || { echo "usage: install.sh FOLDER, for example /opt/consilium" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3.11}
command -v "$python" > /dev/null || { echo "$python: not found. Name a Python 3.11: PYTHON=/where/it/is $0 $1" >&2; exit 2; }
(cd "$here" && sha256sum --check --quiet SHA256SUMS) || { echo "The files are not what was packed: copy the archive again." >&2; exit 2; }
"$python" -m venv --clear "$1"
"$1/bin/python" -m pip --isolated install --quiet --disable-pip-version-check --no-index --find-links "$here/wheels" \
  --require-hashes -r "$here/requirements.lock"
"$1/bin/python" -m pip --isolated install --quiet --disable-pip-version-check --no-index --no-deps "$here"/wheels/consilium-*.whl
"$1/bin/consilium" --version
echo "Installed: $1/bin/consilium, $(du -sm "$1" | cut -f1) MB. For all shells: ln -s $1/bin/consilium /usr/local/bin/"
