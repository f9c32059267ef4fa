#!/bin/sh
# The formatter's layout, and sound shell scripts.
set -eu
cd "$(dirname "$0")/../.."
find src include tests examples bench \( -name '*.cpp' -o -name '*.h' \) -print0 |
  xargs -0 clang-format --dry-run -Werror
shellcheck scripts/* bench/others/* .ci/run tests/lint/*.sh tests/fuzz/*.sh tests/e2e/judges/*.sh
