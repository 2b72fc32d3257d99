#!/usr/bin/env bash
# Tests that a release can be built again: the same commit gives the same files, to the byte.
#
#     deploy/reproduce.sh [ARCH]...        builds twice, in two checkouts of this commit with build folders of their own, and compares
#                                          all of dist/. As deploy/release.sh, without ARCH all that the machine can
#     deploy/reproduce.sh --pack DIST ARCH=FILE...
#                                          packs again what DIST was packed from, and compares: what takes no compiler, in seconds
set -euo pipefail
cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# compare DIST DIST: the same names with the same checksums.
compare() {
    local differences
    if ! differences=$(diff "$1/SHA256SUMS" "$2/SHA256SUMS"); then
        printf 'failed: two runs gave different files:\n%s\n' "$(sed -n 's/^\([<>]\) [0-9a-f]* */    \1 /p' <<<"$differences")" >&2
        exit 1
    fi
    (cd "$1" && sha256sum --quiet --check SHA256SUMS) && (cd "$2" && sha256sum --quiet --check SHA256SUMS)
    echo "the same twice: $(wc -l <"$1/SHA256SUMS") files"
}

if [ "${1:-}" = --pack ]; then
    dist=$(realpath "$2")
    shift 2
    binaries=()
    for binary; do binaries+=(--binary "$binary"); done
    deploy/release.sh --out "$scratch/dist" "${binaries[@]}" >"$scratch/log" 2>&1 || { cat "$scratch/log" >&2; exit 1; }
    compare "$dist" "$scratch/dist"
    exit
fi

archs=()
for arch; do archs+=(--arch "$arch"); done
# The path of neither has the length of the other's, and the tools, which are no part of what is compared, are built once.
commit=$(git rev-parse HEAD)
tools=$(realpath -m "${CARGO_TARGET_DIR:-target}/release-tools/bin")
for folder in first the-second; do
    git clone --quiet --no-hardlinks --no-checkout . "$scratch/$folder/pldns"
    git -C "$scratch/$folder/pldns" checkout --quiet --detach "$commit"
    printf '==> %s\n' "$scratch/$folder/pldns"
    (cd "$scratch/$folder/pldns" && env -u CARGO_TARGET_DIR PATH="$tools:$PATH" deploy/release.sh "${archs[@]}")
    # Of the build folder only what is compared is needed.
    rm -rf "$scratch/$folder/pldns/target"
done
compare "$scratch/first/pldns/dist" "$scratch/the-second/pldns/dist"
