#!/bin/sh
# Builds the fuzz target tests/fuzz/NAME.cpp, with the sources it is about, and lets it run.
#   tests/fuzz/fuzz.sh NAME SECONDS DIRECTORY SOURCE...
# DIRECTORY keeps the program, the inputs that reached something new, and one that broke it. Whatever
# compiles the project, this takes clang++: libFuzzer is a part of it. Options for it may follow.
set -eu
name=$1 seconds=$2 directory=$3
shift 3
cd "$(dirname "$0")/../.."
command -v clang++ >/dev/null ||
  { echo "$0: no clang++: apt-get install clang libclang-rt-14-dev" >&2; exit 1; }
mkdir -p "$directory/corpus"
clang++ -std=c++20 -g -O1 -fno-omit-frame-pointer -fsanitize=fuzzer,address,undefined \
  -fno-sanitize-recover=all -Isrc -Iinclude -o "$directory/$name" "tests/fuzz/$name.cpp" "$@"
exec "$directory/$name" -max_total_time="$seconds" -max_len=32768 -timeout=10 -print_final_stats=1 \
  -dict="tests/fuzz/$name.dict" -artifact_prefix="$directory/" "$directory/corpus"
