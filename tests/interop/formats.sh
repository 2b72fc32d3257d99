# The formats of `pldns generate`, loaded by the programs that they are for: each answers as pldns does. Part of run.sh.
# What a program is not installed for is skipped.

metadata=("$top"/config/metadata/workspace.json "$top"/config/metadata/storage-blob.json "$top"/config/metadata/storage-file.json
    "$top"/config/metadata/key-vault.json "$top"/config/metadata/registry.json)

# generate FORMAT: the example metadata as FORMAT in a file of the scratch directory. Partial wildcards are left out with
# a warning, which is not shown here.
generate() {
    "$pldns" generate "${metadata[@]}" --compute-instance ci1 --format "$1" -o "$scratch/formats.$1" 2>"$scratch/formats.$1.log" \
        || die "pldns generate --format $1: $(cat "$scratch/formats.$1.log")"
}

# A copy of a program, where the machine's AppArmor profile ties the original to settings of its own.
own_copy() {
    local program
    program=$(command -v "$1")
    cp "$program" "$scratch/own-$1"
    if "$scratch/own-$1" "$2" >/dev/null 2>&1; then program=$scratch/own-$1; fi
    echo "$program"
}

ready_for_formats() {
    dig -r +time=1 +tries=1 +short -p "$port" @127.0.0.1 myworkspacest.blob.core.windows.net A | grep -q '^10\.1\.0\.8$'
}

start_formats_pldns() {
    cat >"$scratch/formats.pldns.toml" <<CONF
[listen]
admin = ""
drain = "0s"

[records]
files = ["$scratch/formats.toml"]

[[forward]]
zone = "."
upstreams = ["127.0.0.1:$azure_port"]
CONF
    start formats-pldns ready_for_formats "$pldns" serve -c "$scratch/formats.pldns.toml" --listen "127.0.0.1:$port"
}

start_formats_unbound() {
    unbound_base >"$scratch/formats.unbound.conf"
    cat >>"$scratch/formats.unbound.conf" <<CONF
include: "$scratch/formats.unbound"
forward-zone:
    name: "."
    forward-addr: 127.0.0.1@$azure_port
CONF
    start formats-unbound ready_for_formats "$unbound" -d -c "$scratch/formats.unbound.conf"
}

# named_base: what both servers of BIND have in common.
named_base() {
    cat <<CONF
controls { };
options {
    directory "$scratch";
    pid-file none;
    session-keyfile none;
    managed-keys-directory "$scratch";
    listen-on port $port { 127.0.0.1; };
    listen-on-v6 { none; };
    allow-query { any; };
    recursion yes;
    dnssec-validation no;
    forwarders { 127.0.0.1 port $azure_port; };
    forward only;
CONF
}

start_formats_bind() {
    named_base >"$scratch/formats.bind.conf"
    cat >>"$scratch/formats.bind.conf" <<CONF
    response-policy { zone "pldns.rpz"; } qname-wait-recurse no break-dnssec yes;
};
zone "pldns.rpz" { type primary; file "$scratch/formats.bind"; allow-query { none; }; };
CONF
    start formats-bind ready_for_formats "$named" -g -c "$scratch/formats.bind.conf"
}

# One zone statement for each $ORIGIN, all of one file: what belongs to other zones is ignored.
start_formats_zone() {
    named_base >"$scratch/formats.zone.conf"
    echo '};' >>"$scratch/formats.zone.conf"
    sed -n 's/^\$ORIGIN \(.*\)\.$/\1/p' "$scratch/formats.zone" | while read -r zone; do
        echo "zone \"$zone\" { type primary; file \"$scratch/formats.zone\"; };"
    done >>"$scratch/formats.zone.conf"
    start formats-zone ready_for_formats "$named" -g -c "$scratch/formats.zone.conf"
}

start_formats_dnsmasq() {
    start formats-dnsmasq ready_for_formats "$dnsmasq" --no-daemon --conf-file="$scratch/formats.dnsmasq" --no-resolv --no-hosts \
        --server="127.0.0.1#$azure_port" --port="$port" --listen-address=127.0.0.1 --bind-interfaces --user="$(id -un)" --pid-file=
}

# status_and_data NAME TYPE PORT: the code and the sorted addresses of an answer.
status_and_data() {
    local output
    output=$(dig -r +time=4 +tries=1 +noall +comments +answer -p "$3" @127.0.0.1 "$1" "$2" || true)
    sed -n 's/.*status: \([A-Z]*\).*/\1/p' <<<"$output"
    awk -v type="$2" '$4 == type { print $5 }' <<<"$output" | sort
}

# agrees FORMAT PORT: for every name of the table, a name that a wildcard stands for included, what the program at PORT says
# is what pldns says: addresses, no data for other types, the public answer for names beside them.
agrees() {
    local format=$1 at=$2 name type wrong=""
    for name in $names_of_formats; do
        for type in A AAAA TXT; do
            if [ "$(status_and_data "$name" "$type" "$at")" != "$(status_and_data "$name" "$type" "$formats_port")" ]; then
                wrong+=" $name/$type"
            fi
        done
    done
    judge "format $format: every name is answered as pldns does" "disagree:${wrong:- none}" '^disagree: none$' || true
}

checks_of_formats() {
    local format
    for format in toml hosts zone unbound bind dnsmasq coredns powershell azure-cli terraform; do generate "$format"; done
    judge "partial wildcards are left out with a warning" "$(cat "$scratch/formats.unbound.log")" \
        'warning: .*ci1-\*\.eastus\.instances\.ml\.azure\.ms A.*partial wildcard' || true
    serve formats-pldns start_formats_pldns
    formats_port=$port
    names_of_formats=$(sed -n 's/^name = "\(.*\)"$/\1/p' "$scratch/formats.toml" | grep -v '^\*-\|-\*\.' | sed 's/^\*\./score./')
    names_of_formats+=" otherstorage.blob.core.windows.net www.example.net"
    serve formats-unbound start_formats_unbound
    agrees unbound "$port"
    if command -v named >/dev/null; then
        named=$(own_copy named -v)
        serve formats-bind start_formats_bind
        agrees bind "$port"
        serve formats-zone start_formats_zone
        # A server that has a privatelink zone answers all of it: the file says so. Other names of these zones end there.
        names_of_formats=${names_of_formats/ otherstorage.blob.core.windows.net/}
        agrees zone "$port"
    else
        echo "skip  formats bind and zone: named is not installed"
    fi
    if command -v dnsmasq >/dev/null; then
        dnsmasq=$(own_copy dnsmasq --version)
        serve formats-dnsmasq start_formats_dnsmasq
        agrees dnsmasq "$port"
    else
        echo "skip  format dnsmasq: dnsmasq is not installed"
    fi
    judge "format azure-cli is a script of the shell" "$(sh -n "$scratch/formats.azure-cli" 2>&1 && echo fine)" '^fine$' || true
    if command -v terraform >/dev/null; then
        judge "format terraform is formatted as terraform does" \
            "$(terraform fmt -check -diff - <"$scratch/formats.terraform" 2>&1 >/dev/null && echo fine)" '^fine$' || true
    fi
}
