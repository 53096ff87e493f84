#!/bin/sh
# Remove from an environment what no step needs: tests, sources of compiled code, the installer.
set -eu
site=$(echo "$1"/lib/python3*/site-packages)
find "$site" -type d \( -name tests -o -name test -o -name testsuite -o -name testing_files \) \
    -not -path '*/numpy/*/testing*' -prune -exec rm -rf {} +
find "$site" -type f \( -name '*.c' -o -name '*.cpp' -o -name '*.h' -o -name '*.hpp' -o -name '*.pyx' \
    -o -name '*.pxd' -o -name '*.pyi' -o -name '*.a' -o -name '*.f90' -o -name '*.js.map' \) -delete
rm -rf "$site"/pip "$site"/pip-* "$site"/setuptools "$site"/setuptools-* "$site"/_distutils_hack \
    "$site"/distutils-precedence.pth "$site"/pkg_resources \
    "$site"/matplotlib/mpl-data/sample_data "$site"/ase/gui
rm -f "$1"/bin/pip* "$1"/bin/f2py
if command -v strip > /dev/null; then
    find "$site" -name 'libllvmlite.so' -exec strip --strip-unneeded {} +
fi
