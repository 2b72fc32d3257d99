#!/usr/bin/env bash
# Interoperability: the real binary, asked by clients that others wrote.
#
#   dig, kdig, drill, delv, host, nslookup ──────────────────────────> pldns ──> fake Azure DNS
#   dig ──> Unbound as on-premises server, conditional forwarders ───> pldns     (Unbound, azure.zone)
#   getent (glibc's resolver, network namespace of its own) ─────────> pldns, records table alone
#   kdig, curl, dnspython, Chromium ─ TLS, HTTPS, QUIC ─> pldns; dig ──> Unbound, resolved ─ TLS ──> pldns     (encrypted.sh)
#   Unbound, BIND and dnsmasq with what `pldns generate` wrote for them, compared with pldns    (formats.sh)
#   Chromium ─ HTTP ─> the status page    (page.sh); dnstap-ldns with what was written for dnstap    (dnstap.sh)
#   dig ──> pldns ──> Unbound ──> pldns again    (loop.sh)
#
# Everything listens on free ports of loopback; nothing leaves the machine. Only processes started here are ended.
# Usage: [PLDNS=path/to/pldns] [INTEROP_COMPLETE=1] tests/interop/run.sh
# With INTEROP_COMPLETE what is left out for want of a client is a failure.
# Prints ok, FAIL or skip for each check, then "N passed, N failed"; exit status 1 if any failed.
set -euo pipefail

# The whole run is bounded: `timeout` ends this script and, with it, all that it started.
if [ -z "${INTEROP_BOUNDED:-}" ]; then
    export INTEROP_BOUNDED=1
    exec timeout --kill-after=10 300 "$0" "$@"
fi

exec </dev/null
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
pldns=$(realpath -m "${PLDNS:-$top/target/release/pldns}")
export PATH="$PATH:/usr/sbin:/sbin" LC_ALL=C
scratch=$(mktemp -d)
started=()
passed=0
failed=0

id=fb7e20a0-8891-458b-b969-55ddb3382f51
api=$id.workspace.eastus.api.azureml.ms
notebook=ml-myworkspace-eastus-$id.eastus.notebooks.azure.net
public='192\.0\.2\.|2001:db8::' # an address of azure.zone: public

finish() {
    local pid
    for pid in "${started[@]}"; do
        kill "$pid" 2>/dev/null || true
    done
    for pid in "${started[@]}"; do
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$scratch"
}
trap finish EXIT

die() {
    echo "interop: $*" >&2
    exit 1
}

# ── processes ────────────────────────────────────────────────────────────────────────────────────────────────────────

# Prints a port below the ephemeral range that nobody on this machine uses for UDP or TCP.
free_port() {
    local port hex
    while :; do
        port=$((10000 + (RANDOM * 32768 + RANDOM) % 22000))
        hex=$(printf ':%04X ' "$port")
        if ! cat /proc/net/udp /proc/net/tcp /proc/net/udp6 /proc/net/tcp6 2>/dev/null | grep -q "$hex"; then
            echo "$port"
            return
        fi
    done
}

# start NAME READY COMMAND...: starts in the background, waits up to 15 s until the shell command READY succeeds.
# Fails when the process ended, as it does when somebody else took the port.
start() {
    local name=$1 ready=$2 pid tries
    shift 2
    "$@" >"$scratch/$name.out" 2>"$scratch/$name.log" &
    pid=$!
    started+=("$pid")
    for ((tries = 0; tries < 150; tries++)); do
        if ! kill -0 "$pid" 2>/dev/null; then
            return 1
        fi
        if eval "$ready"; then
            return 0
        fi
        sleep 0.1
    done
    return 1
}

# start_server NAME ADDRESS: pldns with $scratch/NAME.toml.
start_server() {
    start "$1" "grep -q '\"message\":\"ready\"' '$scratch/$1.log'" "$pldns" serve -c "$scratch/$1.toml" --listen "$2"
}

# start_unbound NAME: Unbound with $scratch/NAME.conf, which answers on $port.
start_unbound() {
    start "$1" answers "$unbound" -d -c "$scratch/$1.conf"
}

# serve NAME SETTER: tries three free ports; SETTER starts the server on $port.
serve() {
    local attempt
    for attempt in 1 2 3; do
        port=$(free_port)
        if "$2"; then
            return
        fi
        echo "interop: $1 did not start on port $port (try $attempt)" >&2
        tail -n 20 "$scratch/$1.out" "$scratch/$1.log" >&2
    done
    die "$1 does not start"
}

# What both Unbounds have in common: foreground, no privileges, no files outside the scratch directory.
unbound_base() {
    cat <<CONF
server:
    directory: "$scratch"
    chroot: ""
    username: ""
    pidfile: ""
    use-syslog: no
    logfile: ""
    do-daemonize: no
    verbosity: 1
    num-threads: 1
    interface: 127.0.0.1@$port
    do-ip6: no
    access-control: 127.0.0.0/8 allow
    # private zones are unsigned
    module-config: "iterator"
    # the servers that it asks are on this machine
    do-not-query-localhost: no
    qname-minimisation: no
    local-zone: "10.in-addr.arpa." nodefault
    local-zone: "2.0.192.in-addr.arpa." nodefault
    local-zone: "localhost." nodefault
    local-zone: "invalid." nodefault
remote-control:
    control-enable: no
CONF
}

answers() {
    dig -r +time=1 +tries=1 +short -p "$port" @127.0.0.1 www.example.net A | grep -q '^192\.0\.2\.50$'
}

start_azure() {
    unbound_base >"$scratch/azure.conf"
    cat >>"$scratch/azure.conf" <<CONF
auth-zone:
    name: "."
    zonefile: "$here/azure.zone"
    for-downstream: no
    for-upstream: yes
    fallback-enabled: no
CONF
    start_unbound azure
}

start_pldns() {
    cat >"$scratch/pldns.toml" <<CONF
[listen]
admin = ""
drain = "0s"

[records]
files = ["$here/records.toml"]

[[zone]]
name = "corp.example"
missing = "nxdomain"

[[forward]]
zone = "."
upstreams = ["127.0.0.1:$azure_port"]
CONF
    start_server pldns "127.0.0.1:$port"
}

# The on-premises server: Azure's zones go to pldns, everything else to what stands for the internet. Letters of
# random case (0x20) show that pldns echoes the question as asked; one zone is asked over TCP.
start_onprem() {
    unbound_base >"$scratch/onprem.conf"
    echo 'server: use-caps-for-id: yes' >>"$scratch/onprem.conf"
    local zone tcp
    for zone in api.azureml.ms notebooks.azure.net instances.ml.azure.ms inference.ml.azure.com aznbcontent.net \
        blob.core.windows.net vault.azure.net vaultcore.azure.net corp.example 10.in-addr.arpa; do
        tcp=no
        [ "$zone" != notebooks.azure.net ] || tcp=yes
        cat >>"$scratch/onprem.conf" <<CONF
forward-zone:
    name: "$zone"
    forward-addr: 127.0.0.1@$pldns_port
    forward-tcp-upstream: $tcp
CONF
    done
    cat >>"$scratch/onprem.conf" <<CONF
forward-zone:
    name: "."
    forward-addr: 127.0.0.1@$azure_port
CONF
    start_unbound onprem
}

# ── checks ───────────────────────────────────────────────────────────────────────────────────────────────────────────

# judge TITLE OUTPUT PATTERN...: each PATTERN is an extended regular expression that some line of the output must
# match; with ! in front, none may. The first must be a positive one, so that silence never passes. Status 1: it failed.
judge() {
    local title=$1 output=$2 pattern wrong=""
    shift 2
    [[ $1 != '!'* ]] || die "check without a positive pattern: $title"
    for pattern in "$@"; do
        if [[ $pattern == '!'* ]]; then
            ! grep -Eq -- "${pattern#!}" <<<"$output" || wrong+="    there: ${pattern#!}"$'\n'
        else
            grep -Eq -- "$pattern" <<<"$output" || wrong+="    not there: $pattern"$'\n'
        fi
    done
    if [ -z "$wrong" ]; then
        passed=$((passed + 1))
        echo "ok    $title"
        return
    fi
    failed=$((failed + 1))
    printf 'FAIL  %s\n%s' "$title" "$wrong"
    sed 's/^/    | /' <<<"$output"
    return 1
}

# without WHAT: says what is left out; a failure where nothing may be.
without() {
    if [ -n "${INTEROP_COMPLETE:-}" ]; then
        failed=$((failed + 1))
        echo "FAIL  $1"
    else
        echo "skip  $1"
    fi
}

# check TITLE PATTERN... -- COMMAND...: judges what the command prints, on both streams and within 10 s.
check() {
    local title=$1 output
    local patterns=()
    shift
    while [ "$1" != -- ]; do
        patterns+=("$1")
        shift
    done
    shift
    output=$(timeout 10 "$@" 2>&1) || true
    judge "$title" "$output" "${patterns[@]}" || echo "    by: $*"
}

# Each client asks the same: the private address, NODATA for AAAA, NXDOMAIN as it came, over UDP and TCP.
checks_by_every_client() {
    local a="$api\\.?[[:space:]].*[[:space:]]A[[:space:]]+10\\.1\\.0\\.5" how
    for how in +notcp +tcp; do
        check "dig $how: A" "^$a" 'status: NOERROR' 'flags: qr aa rd ra' "!$public" -- "${dig[@]}" $how "$api" A
        check "dig $how: AAAA is NODATA" 'status: NOERROR' 'ANSWER: 0' 'IN[[:space:]]+SOA' "!$public" -- "${dig[@]}" $how "$api" AAAA
        check "dig $how: NXDOMAIN passes" 'status: NXDOMAIN' 'IN[[:space:]]+SOA' -- "${dig[@]}" $how nosuch.blob.core.windows.net A
        check "kdig $how: A" "^$a" 'status: NOERROR' "!$public" -- "${kdig[@]}" $how "$api" A
        check "kdig $how: AAAA is NODATA" 'status: NOERROR' 'ANSWER: 0' 'IN[[:space:]]+SOA' "!$public" -- "${kdig[@]}" $how "$api" AAAA
        check "kdig $how: NXDOMAIN passes" 'status: NXDOMAIN' -- "${kdig[@]}" $how nosuch.blob.core.windows.net A
        check "delv $how: A" "^$a" "!$public" -- "${delv[@]}" $how "$api" A
        check "delv $how: AAAA is NODATA" 'ncache nxrrset' "!$public" -- "${delv[@]}" $how "$api" AAAA
        check "delv $how: NXDOMAIN passes" 'ncache nxdomain' -- "${delv[@]}" $how nosuch.blob.core.windows.net A
    done
    for how in -u -t; do
        check "drill $how: A" "^$a" 'rcode: NOERROR' "!$public" -- "${drill[@]}" $how "$api" A
        check "drill $how: AAAA is NODATA" 'rcode: NOERROR' 'ANSWER: 0' 'IN[[:space:]]+SOA' "!$public" -- "${drill[@]}" $how "$api" AAAA
        check "drill $how: NXDOMAIN passes" 'rcode: NXDOMAIN' -- "${drill[@]}" $how nosuch.blob.core.windows.net A
    done
    for how in -U -T; do
        # Without -t, host asks for A, AAAA and MX one after another.
        check "host $how: A, AAAA, MX" "^$api has address 10\\.1\\.0\\.5" "!$public" '!has IPv6' '!not found|timed out' -- host -p "$port" -W 4 $how "$api" 127.0.0.1
        check "host $how: NXDOMAIN passes" 'not found: 3\(NXDOMAIN\)' -- host -p "$port" -W 4 $how nosuch.blob.core.windows.net 127.0.0.1
    done
    for how in -novc -vc; do
        check "nslookup $how: A, AAAA" '^Address: 10\.1\.0\.5' "!$public" "!server can't find" -- nslookup -port="$port" -timeout=4 $how "$api" 127.0.0.1
        check "nslookup $how: NXDOMAIN passes" "can't find nosuch.blob.core.windows.net: NXDOMAIN" -- nslookup -port="$port" -timeout=4 $how nosuch.blob.core.windows.net 127.0.0.1
    done
}

checks_of_names() {
    local upper=${api^^} cut_name="ml-another-name-eastus-$id.eastus.notebooks.azure.net"
    check "mixed case: answered, echoed as asked" "^;$upper\\." '10\.1\.0\.5' -- "${dig[@]}" "$upper" A
    check "TTL of a record that states none" '[[:space:]]10[[:space:]]+IN[[:space:]]+A[[:space:]]' -- "${dig[@]}" "$api" A
    check "HTTPS is NODATA" 'status: NOERROR' 'ANSWER: 0' 'IN[[:space:]]+SOA' "!$public" -- "${dig[@]}" "$api" HTTPS
    check "TXT is NODATA" 'status: NOERROR' 'ANSWER: 0' 'IN[[:space:]]+SOA' -- "${kdig[@]}" "$api" TXT
    check "unknown type of a known name is NODATA" 'status: NOERROR' 'ANSWER: 0' '!C000020A' -- "${dig[@]}" "$api" TYPE65280
    check "unknown type from the table" 'TYPE65280[[:space:]]+\\# 4 0A010005' -- "${dig[@]}" unknown.corp.example TYPE65280
    check "unknown type from upstream" 'TYPE65280[[:space:]]+\\# 4 C0000232' -- "${kdig[@]}" www.example.net TYPE65280
    check "partial wildcard" '10\.1\.0\.6' "!$public" -- "${dig[@]}" "$notebook" A
    check "partial wildcard, any name before it" '10\.1\.0\.6' -- "${kdig[@]}" "$cut_name" A
    check "partial wildcard, AAAA is NODATA" 'status: NOERROR' 'ANSWER: 0' "!$public" -- "${dig[@]}" "$notebook" AAAA
    check "wildcard" '^anything\..*10\.1\.0\.7' -- "${dig[@]}" "anything.$id.inference.eastus.privatelink.api.azureml.ms" A
    check "wildcard, AAAA is NODATA" 'rcode: NOERROR' 'ANSWER: 0' 'IN[[:space:]]+SOA' -- "${drill[@]}" "anything.$id.inference.eastus.privatelink.api.azureml.ms" AAAA
    check "IPv6 address" 'fd00:10:1::5' -- "${dig[@]}" dual.corp.example AAAA
    check "PTR, IPv4" "PTR[[:space:]]+myworkspacest\\.privatelink" -- "${dig[@]}" -x 10.1.0.8
    check "PTR, IPv6" 'PTR[[:space:]]+dual\.corp\.example\.' -- "${kdig[@]}" -x fd00:10:1::5
    check "PTR by drill" "PTR[[:space:]]+myworkspacest\\.privatelink" -- "${drill[@]}" -x 10.1.0.8
    check "PTR by host" 'domain name pointer myworkspacest\.privatelink' -- host -p "$port" -W 4 10.1.0.8 127.0.0.1
    check "PTR not in the table is forwarded" 'PTR[[:space:]]+blob\.stamp\.store' -- "${dig[@]}" -x 192.0.2.20
    check "ANY" 'status: NOERROR' 'RFC8482|10\.1\.0\.5' "!$public" -- "${dig[@]}" "$api" ANY
    check "zone with missing = nxdomain" 'status: NXDOMAIN' '^corp\.example\..*SOA' -- "${dig[@]}" nosuch.corp.example A
    check "localhost is answered here" 'status: NOERROR' '127\.0\.0\.1' -- "${dig[@]}" localhost A
    check "invalid is answered here" 'status: NXDOMAIN' -- "${dig[@]}" name.invalid A
    check "canary of the browsers" 'status: NXDOMAIN' -- "${dig[@]}" use-application-dns.net A
    check "reddog.microsoft.com" 'status: NXDOMAIN' -- "${dig[@]}" server1.reddog.microsoft.com A
}

checks_of_chains() {
    check "CNAME within the table" 'CNAME[[:space:]]+fb7e20a0' '10\.1\.0\.5' "!$public" -- "${dig[@]}" studio.corp.example A
    check "CNAME out of the table" 'CNAME[[:space:]]+www\.example\.net' '192\.0\.2\.50' -- "${dig[@]}" partner.corp.example A
    check "upstream's CNAME leads into the table" 'CNAME[[:space:]]+myworkspacest\.privatelink' '10\.1\.0\.8' "!$public" -- "${dig[@]}" myworkspacest.blob.core.windows.net A
    check "the same over TCP" '10\.1\.0\.8' "!$public" -- "${kdig[@]}" +tcp myworkspacest.blob.core.windows.net A
    check "the same once more, from the cache" '10\.1\.0\.8' "!$public" -- "${dig[@]}" myworkspacest.blob.core.windows.net A
    check "AAAA behind the chain is NODATA" 'status: NOERROR' 'CNAME[[:space:]]+myworkspacest\.privatelink' "!$public" -- "${dig[@]}" myworkspacest.blob.core.windows.net AAAA
    check "HTTPS behind the chain is NODATA" 'status: NOERROR' 'CNAME[[:space:]]+score' "!$public" -- "${dig[@]}" score.eastus.inference.ml.azure.com HTTPS
    check "chain into a wildcard" '10\.1\.0\.7' "!$public" -- "${dig[@]}" score.eastus.inference.ml.azure.com A
    check "chain with a change of suffix" '10\.1\.0\.9' "!$public" -- "${dig[@]}" myworkspace-kv.vault.azure.net A
    check "another workspace's endpoint stays public" '192\.0\.2\.30' '!10\.1\.' -- "${dig[@]}" other.eastus.inference.ml.azure.com A
    check "another account stays public" '192\.0\.2\.20' '!10\.1\.' -- "${dig[@]}" otherstorage.blob.core.windows.net A
    check "host follows the chain" 'has address 10\.1\.0\.8' "!$public" -- host -p "$port" -W 4 myworkspacest.blob.core.windows.net 127.0.0.1
    check "nslookup follows the chain" '^Address: 10\.1\.0\.8' "!$public" -- nslookup -port="$port" -timeout=4 myworkspacest.blob.core.windows.net 127.0.0.1
    check "delv follows the chain" '10\.1\.0\.8' "!$public" -- "${delv[@]}" myworkspacest.blob.core.windows.net A
}

checks_of_messages() {
    check "no EDNS asked, none given" '10\.1\.0\.5' '!OPT PSEUDOSECTION' -- "${dig[@]}" +noedns "$api" A
    check "EDNS, large buffer: ours is 1232" 'EDNS: version: 0.*udp: 1232' '10\.1\.0\.5' -- "${dig[@]}" +bufsize=65535 "$api" A
    check "EDNS, buffer of 512" '10\.1\.0\.5' -- "${dig[@]}" +bufsize=512 "$api" A
    check "EDNS, buffer of 0" '10\.1\.0\.5' -- "${dig[@]}" +bufsize=0 "$api" A
    check "EDNS version 1 is BADVERS" 'status: BADVERS' 'version: 0' -- "${dig[@]}" +edns=1 +noednsnegotiation "$api" A
    check "EDNS, unknown option" 'status: NOERROR' '10\.1\.0\.5' -- "${dig[@]}" +ednsopt=65001:cafe "$api" A
    check "EDNS, unknown flag" 'status: NOERROR' '10\.1\.0\.5' -- "${dig[@]}" +ednsflags=0x4000 "$api" A
    check "DO is mirrored" 'flags: do' '10\.1\.0\.5' -- "${dig[@]}" +dnssec "$api" A
    check "cookie" 'status: NOERROR' '10\.1\.0\.5' -- "${dig[@]}" +cookie=0123456789abcdef "$api" A
    check "client subnet, table" 'status: NOERROR' '10\.1\.0\.5' -- "${dig[@]}" +subnet=203.0.113.0/24 "$api" A
    check "client subnet, forwarded" 'status: NOERROR' '192\.0\.2\.50' -- "${kdig[@]}" +subnet=203.0.113.0/24 www.example.net A
    check "NSID, padding, keepalive" 'status: NOERROR' '10\.1\.0\.5' -- "${dig[@]}" +tcp +nsid +padding=128 +keepalive "$api" A
    check "AD and CD asked" 'status: NOERROR' '10\.1\.0\.5' -- "${dig[@]}" +adflag +cdflag "$api" A
    check "truncated at 512 without EDNS" 'flags: qr aa tc' -- "${dig[@]}" +noedns +ignore many.corp.example A
    check "dig comes back by TCP" 'retrying in TCP mode' 'ANSWER: 40' -- "${dig[@]}" +noedns many.corp.example A
    check "kdig comes back by TCP" 'ANSWER: 40' -- "${kdig[@]}" +noedns many.corp.example A
    check "drill comes back by TCP" 'ANSWER: 40' -- "${drill[@]}" -a many.corp.example A
    check "fits into 1232" 'ANSWER: 40' '!TCP mode' -- "${dig[@]}" +bufsize=1232 many.corp.example A
    check "large answer of upstream, UDP" 'flags: qr tc rd ra|flags: qr rd ra tc' -- "${dig[@]}" +ignore long.example.net TXT
    check "large answer of upstream, TCP" 'ANSWER: 5' '"first"' '"last"' -- "${dig[@]}" long.example.net TXT
    check "several queries on one connection" '10\.1\.0\.5' '10\.1\.0\.8' '192\.0\.2\.50' -- "${kdig[@]}" +tcp +keepopen "$api" myworkspacest.blob.core.windows.net www.example.net
    check "RD=0, name in the table" 'status: NOERROR' '10\.1\.0\.5' -- "${dig[@]}" +norecurse "$api" A
    check "RD=0, other name is REFUSED" 'status: REFUSED' 'EDE: 20' -- "${dig[@]}" +norecurse www.example.net A
    check "RD=0, other name, kdig" 'status: REFUSED' -- "${kdig[@]}" +norec www.example.net A
    check "class CH is REFUSED" 'status: REFUSED' -- "${dig[@]}" version.bind CH TXT
    check "opcode STATUS is NOTIMP" 'status: NOTIMP' -- "${dig[@]}" +opcode=status "$api" A
    check "transfer is not given" 'Transfer failed|REFUSED|NOTIMP|FORMERR' '!10\.1\.' -- "${dig[@]}" corp.example AXFR
}

# Unbound as the on-premises server: what pldns says must survive a cache and a resolver with opinions of its own.
checks_of_onprem() {
    local how
    for how in +notcp +tcp; do
        check "Unbound $how: workspace" '10\.1\.0\.5' "!$public" -- "${onprem[@]}" $how "$api" A
        check "Unbound $how: AAAA is NODATA" 'status: NOERROR' 'ANSWER: 0' "!$public" -- "${onprem[@]}" $how "$api" AAAA
        check "Unbound $how: notebook, forwarded over TCP" '10\.1\.0\.6' "!$public" -- "${onprem[@]}" $how "$notebook" A
    done
    check "Unbound: HTTPS is NODATA" 'status: NOERROR' 'ANSWER: 0' "!$public" -- "${onprem[@]}" "$api" HTTPS
    check "Unbound: compute instance" '10\.1\.0\.5' -- "${onprem[@]}" myinstance.eastus.instances.ml.azure.ms A
    check "Unbound: instance not in the table" '192\.0\.2\.40' -- "${onprem[@]}" nobody.eastus.instances.ml.azure.ms A
    check "Unbound: online endpoint, chain across two zones" '10\.1\.0\.7' "!$public" -- "${onprem[@]}" score.eastus.inference.ml.azure.com A
    check "Unbound: another workspace's endpoint" '192\.0\.2\.30' '!10\.1\.' -- "${onprem[@]}" other.eastus.inference.ml.azure.com A
    check "Unbound: storage, chain" 'CNAME[[:space:]]+myworkspacest\.privatelink' '10\.1\.0\.8' "!$public" -- "${onprem[@]}" myworkspacest.blob.core.windows.net A
    check "Unbound: storage, AAAA behind the chain" 'status: NOERROR' 'CNAME' "!$public" -- "${onprem[@]}" myworkspacest.blob.core.windows.net AAAA
    check "Unbound: another account" '192\.0\.2\.20' '!10\.1\.' -- "${onprem[@]}" otherstorage.blob.core.windows.net A
    check "Unbound: key vault, chain with a change of suffix" '10\.1\.0\.9' "!$public" -- "${onprem[@]}" myworkspace-kv.vault.azure.net A
    check "Unbound: NXDOMAIN" 'status: NXDOMAIN' -- "${onprem[@]}" nosuch.blob.core.windows.net A
    check "Unbound: NXDOMAIN of a zone of ours" 'status: NXDOMAIN' 'corp\.example\..*SOA' -- "${onprem[@]}" nosuch.corp.example A
    check "Unbound: many addresses" 'ANSWER: 40' -- "${onprem[@]}" many.corp.example A
    check "Unbound: CNAME of ours" '10\.1\.0\.5' -- "${onprem[@]}" studio.corp.example A
    check "Unbound: PTR" 'PTR[[:space:]]+myworkspacest\.privatelink' -- "${onprem[@]}" -x 10.1.0.8
    check "Unbound: what is not forwarded to pldns" '192\.0\.2\.50' -- "${onprem[@]}" www.example.net A
}

# glibc's resolver knows no port: pldns gets 127.0.0.53:53 in a network namespace of its own, and the settings of the
# resolver are mounted over the machine's in a mount namespace of its own. Nothing outside is touched.
checks_of_getent() {
    local unshare=()
    local candidate
    for candidate in 'unshare -n -m' 'unshare -r -n -m'; do
        if $candidate sh -c 'ip link set lo up && mount --bind /etc/hosts /etc/hosts' >/dev/null 2>&1; then
            read -ra unshare <<<"$candidate"
            break
        fi
    done
    if [ "${#unshare[@]}" -eq 0 ]; then
        echo "skip  getent: no namespaces here (unshare, ip and mount are needed)"
        return
    fi
    echo 'nameserver 127.0.0.53' >"$scratch/resolv.conf"
    echo 'hosts: dns' >"$scratch/nsswitch.conf"
    cat >"$scratch/getent.toml" <<CONF
[listen]
admin = ""
drain = "0s"

[records]
files = ["$here/records.toml"]

[[zone]]
name = "corp.example"
missing = "nxdomain"
CONF
    cat >"$scratch/getent.sh" <<'INNER'
set -u
scratch=$1 pldns=$2
shift 2
ip link set lo up
mount --bind "$scratch/resolv.conf" /etc/resolv.conf
mount --bind "$scratch/nsswitch.conf" /etc/nsswitch.conf
[ ! -d /run/nscd ] || mount -t tmpfs none /run/nscd
# Emptied here, not by the shell that starts the server: the run before wrote "ready" into it.
: >"$scratch/getent.log"
"$pldns" serve -c "$scratch/getent.toml" --listen 127.0.0.53:53 2>"$scratch/getent.log" &
pid=$!
trap 'kill "$pid"; wait "$pid"' EXIT
for try in $(seq 100); do
    if grep -q '"message":"ready"' "$scratch/getent.log"; then break; fi
    kill -0 "$pid" || { cat "$scratch/getent.log"; exit 1; }
    sleep 0.1
done
"$@"
echo "exit status $?"
INNER
    local inside=("${unshare[@]}" bash "$scratch/getent.sh" "$scratch" "$pldns")
    check "getent hosts" "^10\\.1\\.0\\.5[[:space:]]+$api" 'exit status 0' -- "${inside[@]}" getent hosts "$api"
    check "getent ahosts: A alone, no error for AAAA" '^10\.1\.0\.6[[:space:]]+STREAM' 'exit status 0' '!:.*STREAM' -- "${inside[@]}" getent ahosts "$notebook"
    check "getent hosts by CNAME" '^10\.1\.0\.5[[:space:]]+fb7e20a0' 'exit status 0' -- "${inside[@]}" getent hosts studio.corp.example
    check "getent hosts by address" 'myworkspacest\.privatelink' 'exit status 0' -- "${inside[@]}" getent hosts 10.1.0.8
    check "getent ahosts: truncated, then TCP" '^10\.1\.1\.40[[:space:]]' 'exit status 0' -- "${inside[@]}" getent ahosts many.corp.example
    check "getent hosts of a missing name" 'exit status 2' -- "${inside[@]}" getent hosts nosuch.corp.example
}

# The end: what was in flight is answered, every query is accounted for, the exit status is 0.
check_of_the_end() {
    local status=0 stopped
    kill -TERM "$pldns_pid"
    wait "$pldns_pid" || status=$?
    stopped=$(grep '"message":"stopped"' "$scratch/pldns.log" || true)
    number() {
        sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p" <<<"$stopped"
    }
    local received answered refused dropped
    received=$(number received) answered=$(number answered) refused=$(number refused) dropped=$(number dropped)
    judge "SIGTERM: the server ends well" "exit status $status" '^exit status 0$' || true
    judge "received = answered + refused + dropped" \
        "received ${received:-none}, accounted for $((${answered:-0} + ${refused:-0} + ${dropped:-0})): $stopped" \
        "^received ([1-9][0-9]*), accounted for \\1:" || true
    judge "nothing worse than a warning in the log" "$(cat "$scratch/pldns.log")" '"message":"ready"' '!"level":"ERROR"' '!panicked' || true
}

. "$here/formats.sh"
. "$here/encrypted.sh"
. "$here/page.sh"
. "$here/dnstap.sh"
. "$here/loop.sh"

# ── the run ──────────────────────────────────────────────────────────────────────────────────────────────────────────

[ -x "$pldns" ] || die "no binary at $pldns: cargo build --release, or set PLDNS"
for tool in dig kdig drill delv host nslookup unbound getent timeout; do
    command -v "$tool" >/dev/null || die "$tool is not installed"
done
# A copy, because Debian's AppArmor profile ties /usr/sbin/unbound to settings below /etc/unbound.
unbound=$(command -v unbound)
cp "$unbound" "$scratch/unbound"
if "$scratch/unbound" -V >/dev/null 2>&1; then
    unbound=$scratch/unbound
fi

port=0
serve azure start_azure
azure_port=$port
serve pldns start_pldns
pldns_port=$port
pldns_pid=${started[-1]}
serve onprem start_onprem
onprem=(dig -r +time=4 +tries=1 -p "$port" @127.0.0.1)
port=$pldns_port
dig=(dig -r +time=4 +tries=1 -p "$port" @127.0.0.1)
kdig=(kdig +time=4 +retry=0 -p "$port" @127.0.0.1)
delv=(delv -i -p "$port" @127.0.0.1)
drill=(drill -p "$port" @127.0.0.1)

checks_by_every_client
checks_of_names
checks_of_chains
checks_of_messages
checks_of_onprem
checks_of_getent
checks_of_formats
checks_of_encrypted
checks_of_page
checks_of_dnstap
checks_of_loop
check_of_the_end

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
