#!/bin/sh
# clang-tidy over the sources, on every core. Takes the build directory.
set -eu
cd "$(dirname "$0")/../.."
find src -name '*.cpp' -print0 | xargs -0 -n 1 -P "$(nproc)" clang-tidy -p "$1" --quiet
