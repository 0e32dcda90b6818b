#!/bin/sh
# One file from which Consilium is installed without a network: every wheel of requirements.lock, held to its hashes, and
# our own. For the platform and the Python that this runs on.   make wheelhouse
set -eu
cd "$(dirname "$0")/.."
python=.venv/bin/python
version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
name=consilium-$version-$($python -c 'import sys, sysconfig; print(f"cp{sys.version_info[0]}{sys.version_info[1]}-" + sysconfig.get_platform())')
rm -rf "build/$name" build/lib build/bdist.*  # what an earlier build left would be in the wheel
mkdir -p "build/$name/wheels"
$python -m pip download --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements.lock -d "build/$name/wheels"
$python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation -w "build/$name/wheels" .
cp requirements.lock LICENSE packaging/install.sh "build/$name"
(cd "build/$name" && find . -type f ! -name SHA256SUMS | LC_ALL=C sort | xargs sha256sum > SHA256SUMS)
tar -C build --owner=0 --group=0 --numeric-owner --sort=name -cf "build/$name.tar" "$name"
(cd build && sha256sum "$name.tar" > "$name.tar.sha256")
rm -rf "build/$name" build/lib build/bdist.*
echo "Written: build/$name.tar, $(du -m "build/$name.tar" | cut -f1) MB; its checksum in build/$name.tar.sha256"
echo "There: tar -xf $name.tar && $name/install.sh /opt/consilium"
