#!/bin/sh
# The formatter's layout, and sound shell scripts.
set -eu
cd "$(dirname "$0")/../.."
find src include tests examples -name '*.cpp' -o -name '*.h' | xargs clang-format --dry-run -Werror
shellcheck scripts/* .ci/run tests/lint/*.sh
