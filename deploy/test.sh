#!/usr/bin/env bash
# Tests what deploy/release.sh built: the image unpacked and served from, the package installed, asked and removed.
#
#     deploy/test.sh [DIST]
#
# Needs root (namespaces of its own, where port 53 is free), and Debian's dnsutils, iproute2, procps, skopeo, umoci, lintian, mmdebstrap.
# What cannot be had is said ("not available here") and left out; what was built and is wrong fails.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:/usr/sbin:/sbin"
dist=$(realpath "${1:-dist}")
name=fb7e20a0-8891-458b-b969-55ddb3382f51.workspace.eastus.api.azureml.ms
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

say() { printf -- '--> %s\n' "$1"; }
die() { printf 'failed: %s\n' "$1" >&2; exit 1; }
without() { printf '    not available here: %s\n' "$1"; }
arch=$(dpkg --print-architecture)

# lacks PROGRAM...: says which of them is not there.
lacks() {
    local program
    for program; do
        command -v "$program" >/dev/null 2>&1 || { without "$program"; return 0; }
    done
    return 1
}

# Whether programs can be started in namespaces of their own.
has_namespaces() {
    unshare --net --mount --pid --fork true 2>/dev/null || { without "namespaces, which need root"; return 1; }
}

# serve_and_ask ROOT HOW PROGRAM...: starts a program in ROOT, read-only, in a network of its own, and asks it on port 53 over UDP
# and TCP. HOW: "sysctl" lets every user bind port 53, "capability" gives CAP_NET_BIND_SERVICE.
serve_and_ask() {
    ROOT=$1 HOW=$2 NAME=$name unshare --net --mount --pid --fork --kill-child bash -euo pipefail -s -- "${@:3}" <<'INSIDE'
ip link set lo up
if [ "$HOW" = sysctl ]; then
    sysctl -q -w net.ipv4.ip_unprivileged_port_start=53
else
    sysctl -q -w net.ipv4.ip_unprivileged_port_start=1024
fi
# The image has no /dev and no /proc: a server that needs neither starts under every runtime.
mount --bind "$ROOT" "$ROOT"
mount -o remount,bind,ro "$ROOT"
python3 - "$ROOT" "$HOW" "$@" <<'PY' &
import ctypes, os, sys
# Loaded from here, not from there.
libc = ctypes.CDLL(None)
root, how, *program = sys.argv[1:]
os.chroot(root)
os.chdir("/")
os.setgroups([])
if how == "capability":
    # PR_SET_KEEPCAPS, so that the capability survives the change of user.
    libc.prctl(8, 1, 0, 0, 0)
os.setresgid(65532, 65532, 65532)
os.setresuid(65532, 65532, 65532)
if how == "capability":
    # _LINUX_CAPABILITY_VERSION_3: only CAP_NET_BIND_SERVICE (10) stays, then it becomes ambient (PR_CAP_AMBIENT_RAISE).
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)(1 << 10, 1 << 10, 1 << 10, 0, 0, 0)
    assert libc.capset(header, data) == 0
    assert libc.prctl(47, 2, 10, 0, 0) == 0
os.execv(program[0], program)
PY
for _ in $(seq 100); do
    if answer=$(dig @127.0.0.1 +short +tries=1 +time=1 "$NAME" 2>/dev/null) && [ "$answer" = 10.1.0.5 ]; then
        [ "$(dig @127.0.0.1 +tcp +short "$NAME")" = 10.1.0.5 ] || { echo "no answer over TCP" >&2; exit 1; }
        exit 0
    fi
    sleep 0.1
done
echo "no answer" >&2
exit 1
INSIDE
}

for archive in "$dist"/pldns_*_"$arch".oci.tar; do
    say "image: $(basename "$archive")"
    [ -e "$archive" ] || { without "an image"; break; }
    ! lacks skopeo umoci dig ip sysctl || break
    skopeo --insecure-policy copy --quiet "oci-archive:$archive" "oci:$scratch/image:test"
    config=$(skopeo --insecure-policy inspect --config "oci:$scratch/image:test")
    CONFIG=$config python3 - <<'PY' || die "the image's configuration"
import json, os, sys
config = json.loads(os.environ["CONFIG"])["config"]
labels = config.get("Labels") or {}
wanted = ["title", "source", "licenses", "version", "description"]
missing = [name for name in wanted if not labels.get("org.opencontainers.image." + name)]
problems = ["no label " + name for name in missing]
if config.get("User") not in ("65532:65532", "65532"):
    problems.append("user is not a number other than root")
if config.get("Entrypoint") != ["/pldns"] or config.get("Cmd") != ["serve"]:
    problems.append("entrypoint")
if set(config.get("ExposedPorts") or {}) != {"53/udp", "53/tcp"}:
    problems.append("exposed ports")
print("\n".join(problems), file=sys.stderr, end="\n" if problems else "")
sys.exit(bool(problems))
PY
    umoci unpack --image "$scratch/image:test" "$scratch/bundle" >/dev/null
    root=$scratch/bundle/rootfs
    size=$(stat -c %s "$root/pldns")
    echo "    binary: $((size / 1024)) KiB, archive: $(($(stat -c %s "$archive") / 1024)) KiB"
    [ "$size" -le 12000000 ] || die "the binary is larger than 12 MB: see what grew (nm --size-sort)"
    [ -z "$(find "$root" -name 'sh' -o -name 'bash')" ] || die "the image has a shell"
    # Scanners read what it is made of.
    if ! lacks objcopy; then
        objcopy --dump-section ".dep-v0=$scratch/dependencies" "$root/pldns" "$scratch/copy" && python3 - "$scratch/dependencies" <<'PY' || die "the binary does not list its dependencies"
import json, sys, zlib
packages = json.loads(zlib.decompress(open(sys.argv[1], "rb").read()))["packages"]
print(f"    dependencies listed in the binary: {len(packages)}")
sys.exit(not {"privatelink-dns", "rustls", "tokio"} <= {package["name"] for package in packages})
PY
    fi
    has_namespaces || break
    cp config/records/workspace.toml "$root/etc/pldns/records/"
    chmod -R a+rX "$root"
    serve_and_ask "$root" sysctl /pldns serve || die "the image with ip_unprivileged_port_start"
    serve_and_ask "$root" capability /pldns serve || die "the image with NET_BIND_SERVICE"
    chroot "$root" /pldns healthcheck >/dev/null 2>&1 && die "a healthcheck without a server"
done

# What a registry gets: skopeo reads the index, and for each platform finds the image that the platform's own archive has.
for archive in "$dist"/pldns_*_index.oci.tar; do
    say "index of the images: $(basename "$archive")"
    [ -e "$archive" ] || { without "an index"; break; }
    ! lacks skopeo || break
    skopeo --insecure-policy copy --quiet --all "oci-archive:$archive" "dir:$scratch/index"
    python3 - "$scratch/index/manifest.json" "${archive%_index.oci.tar}" <<'PY' || die "the index of the images"
import glob, json, sys, tarfile
index, prefix = json.load(open(sys.argv[1])), sys.argv[2]
named = {}
for path in set(glob.glob(prefix + "_*.oci.tar")) - {prefix + "_index.oci.tar"}:
    with tarfile.open(path) as archive:
        layout = json.load(archive.extractfile("./index.json"))
    named[path.removeprefix(prefix + "_").removesuffix(".oci.tar")] = layout["manifests"][0]["digest"]
listed = {entry["platform"]["architecture"]: entry["digest"] for entry in index["manifests"]}
print("    " + ", ".join(f"linux/{arch} {digest[:19]}" for arch, digest in sorted(listed.items())))
sys.exit(not named or listed != named or any(entry["platform"]["os"] != "linux" for entry in index["manifests"]))
PY
done

say "Debian package"
deb=$(ls "$dist"/pldns_*_"$arch".deb 2>/dev/null) || deb=""
[ -n "$deb" ] || without "a package"
# Meant: a static binary (and what lintian takes it for), the packager's own name, no bug of Debian's to close, and scripts that three
# kinds of packages share.
[ -z "$deb" ] || lacks lintian || lintian --allow-root --fail-on error,warning --suppress-tags shared-library-lacks-prerequisites,initial-upload-closes-no-bugs,maintainer-script-calls-systemctl,statically-linked-binary,no-changelog,bogus-mail-host,embedded-library,maintainer-address-malformed,bogus-mail-host-in-debian-changelog \
    "$deb" || die lintian
# A Debian of its own, from the mirror that this machine uses.
make_debian() {
    local mirror
    mirror=$(sed -n 's/^URIs: //p' /etc/apt/sources.list.d/debian.sources 2>/dev/null | head -n 1)
    mmdebstrap --quiet --variant=essential bookworm "$scratch/debian" "${mirror:-http://deb.debian.org/debian}" ||
        { without "a Debian from its mirror"; return 1; }
}
if [ -n "$deb" ] && ! lacks mmdebstrap dig ip sysctl && has_namespaces && make_debian; then
    cp "$deb" "$scratch/debian/pldns.deb"
    chroot "$scratch/debian" dpkg --install /pldns.deb >"$scratch/log" || { cat "$scratch/log"; die "dpkg --install"; }
    grep -q "pldns check" "$scratch/log" || die "the package does not say what to do next"
    chroot "$scratch/debian" pldns check >/dev/null || die "check of the installed settings"
    for file in usr/share/man/man1/pldns.1.gz usr/share/man/man5/pldns.toml.5.gz usr/lib/systemd/system/pldns.service \
        usr/lib/systemd/system/pldns.socket usr/share/bash-completion/completions/pldns; do
        [ -e "$scratch/debian/$file" ] || die "$file is missing"
    done
    cp config/records/workspace.toml "$scratch/debian/etc/pldns/records/"
    serve_and_ask "$scratch/debian" sysctl /usr/bin/pldns serve || die "the installed server"
    echo '# changed' >>"$scratch/debian/etc/pldns/pldns.toml"
    chroot "$scratch/debian" dpkg --remove pldns >/dev/null
    [ -e "$scratch/debian/etc/pldns/pldns.toml" ] || die "removal took changed settings away"
    [ ! -e "$scratch/debian/usr/bin/pldns" ] || die "removal left the program"
    chroot "$scratch/debian" dpkg --purge pldns >/dev/null 2>&1
    [ ! -e "$scratch/debian/etc/pldns/pldns.toml" ] || die "purge left the settings"
fi

say "checksums"
(cd "$dist" && sha256sum --quiet --check SHA256SUMS)
echo "what was tested is good"
