#!/bin/sh
# Remove from an environment what no step needs: `slim.sh ENVIRONMENT`.
# Tests, sources of compiled code, debug symbols, the installer, and libraries that are only loaded
# for what is never asked here (PDF output, syntax colouring, time zones, one picture format).
# Libraries keep their bytecode alone; numba and llvmlite read their own sources, ours stays whole.
set -eu
site=$(echo "$1"/lib/python3*/site-packages)
find "$site" -type d \( -name tests -o -name test -o -name testsuite -o -name testing_files \) \
    -prune -exec rm -rf {} +
find "$site" -type f \( -name '*.c' -o -name '*.cpp' -o -name '*.h' -o -name '*.hpp' -o -name '*.pyx' \
    -o -name '*.pxd' -o -name '*.pyi' -o -name '*.a' -o -name '*.f90' \) -delete
for name in pip setuptools _distutils_hack distutils-precedence.pth pkg_resources doc \
    pygments tzdata matplotlib/mpl-data/sample_data ase/gui PIL/_avif \
    pillow.libs/libavif kubernetes/aio; do
    rm -rf "$site/$name" "$site/$name"-* "$site/$name".*
done
# the plots need its list of glyph names alone
find "$site/fontTools" -mindepth 1 -maxdepth 1 -type d -not -name misc -exec rm -rf {} +
rm -f "$site"/fontTools/misc/*.so
rm -f "$1"/bin/pip* "$1"/bin/f2py "$1"/bin/fonttools "$1"/bin/pyftsubset "$1"/bin/ttx
if command -v strip > /dev/null; then
    # not in *.libs, nor the pool of OpenMP's threads: those were patched after linking, and what is
    # stripped of them can no longer be loaded
    find "$site" -name '*.so' -not -path '*.libs/*' -not -name 'omppool*' \
        -exec strip --strip-unneeded {} +
fi
# clusters are asked without the client's typed interface; older ones load all of it at once
for part in "$site/kubernetes/client/models" "$site/kubernetes/client/api"; do
    if grep -q __getattr__ "$part/__init__.py"; then
        find "$part" -type f ! -name __init__.py -delete
    fi
done
# half of the generated client of clusters is docstrings
if python3 -OO -m compileall -q -b "$site/kubernetes"; then
    find "$site/kubernetes" -name '*.py' -delete
    find "$site/kubernetes" -name __pycache__ -prune -exec rm -rf {} +
fi
for package in "$site"/*/; do
    case $package in
    */kubernetes/ | */numba/ | */llvmlite/ | */mdpipe/ | */__pycache__/ | *.dist-info/ | *.libs/) continue ;;
    esac
    python3 -m compileall -q -b "$package" || continue # a package for another Python stays whole
    find "$package" -name '*.py' -delete
    find "$package" -name __pycache__ -prune -exec rm -rf {} +
done
