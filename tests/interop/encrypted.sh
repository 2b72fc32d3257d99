# shellcheck shell=bash
# DNS over TLS, HTTPS and QUIC by clients that others wrote: kdig, curl, dnspython, Chromium, and Unbound and systemd-resolved as
# forwarders by TLS. Part of run.sh.

# A certificate for the name and for the address, its own authority.
make_certificate() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 90 -subj /CN=dns.example \
        -addext 'subjectAltName=DNS:dns.example,IP:127.0.0.1' \
        -keyout "$scratch/key.pem" -out "$scratch/chain.pem" 2>"$scratch/openssl.log"
}

start_encrypted() {
    tls_port=$port https_port=$(free_port) plain_port=$(free_port) health_port=$(free_port)
    sed -e "s|^admin = \"\"|admin = \"\"\ntls = [\"127.0.0.1:$tls_port\"]\nquic = [\"127.0.0.1:$tls_port\"]\nhttps = [\"127.0.0.1:$https_port\"]\nhealth = \"127.0.0.1:$health_port\"|" \
        "$scratch/pldns.toml" >"$scratch/encrypted.toml"
    cat >>"$scratch/encrypted.toml" <<CONF
[tls]
certificate = "$scratch/chain.pem"
private_key = "$scratch/key.pem"
name = "dns.example"
CONF
    start_server encrypted "127.0.0.1:$plain_port"
}

start_forwarder() {
    unbound_base >"$scratch/forwarder.conf"
    cat >>"$scratch/forwarder.conf" <<CONF
server:
    tls-cert-bundle: "$scratch/chain.pem"
forward-zone:
    name: "."
    forward-addr: 127.0.0.1@$tls_port#dns.example
    forward-tls-upstream: yes
CONF
    start_unbound forwarder
}

# dnspython and what it needs come from PyPI, at the versions of requirements.txt.
checks_by_dnspython() {
    local venv=$scratch/venv output
    if ! { python3 -m venv "$venv" && timeout 120 "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"; } \
        >"$scratch/pip.log" 2>&1; then
        tail -n 5 "$scratch/pip.log" >&2
        without "dnspython: it cannot be installed"
        return 0
    fi
    output=$(timeout 60 "$venv/bin/python" "$here/clients.py" "$plain_port" "$tls_port" "$https_port" "$scratch/chain.pem" \
        "$api" "$notebook" many.corp.example nosuch.corp.example www.example.net localhost 2>&1 || echo "exit status $?")
    judge "dnspython: TLS, HTTPS and QUIC answer as TCP does" "$output" '^tls: 30 of 30$' '^https 1\.1: 30 of 30$' '^https 2: 30 of 30$' \
        '^quic: 30 of 30$' '^tls: padded to 468$' '^quic: padded to 468$' '!exit status' || true
}

# A page by a name that only this server knows, asked for over HTTPS and nothing else. The key of the certificate is trusted by its hash.
checks_by_chromium() {
    command -v chromium >/dev/null || {
        echo "skip  Chromium with DNS over HTTPS: chromium is not installed"
        return 0
    }
    local home=$scratch/chromium-doh spki
    spki=$(openssl x509 -in "$scratch/chain.pem" -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64)
    mkdir -p "$home"
    printf '{"dns_over_https":{"mode":"secure","templates":"https://127.0.0.1:%s/dns-query"}}' "$https_port" >"$home/Local State"
    # Prints the page as a browser with this directory has it.
    load() {
        timeout 60 chromium --headless=new --no-sandbox --disable-gpu --user-data-dir="$1" --ignore-certificate-errors-spki-list="$spki" \
            --dump-dom "http://loopback.corp.example:$health_port/healthz" 2>"$scratch/chromium-doh.log" && echo done
    }
    judge "Chromium: a page by a name that DNS over HTTPS knows" "$(load "$home")" '"status":"ok"' || true
    judge "Chromium: the same without, so that it was that" "$(load "$scratch/chromium-plain")" '^done$' '!"status":"ok"' || true
}

# systemd-resolved with `DNSOverTLS=yes`, which checks the certificate. Its package would become the machine's resolver: its files are
# unpacked, and it runs where network, mounts and /run are no others' concern.
checks_by_resolved() {
    local place=$scratch/resolved file
    mkdir -p "$place"
    if ! (cd "$place" && apt-get download systemd-resolved libsystemd-shared >log 2>&1 && for file in *.deb; do dpkg -x "$file" .; done) ||
        ! unshare -n -m ip link set lo up 2>/dev/null; then
        echo "skip  systemd-resolved: its package cannot be had, or there are no namespaces here"
        return 0
    fi
    sed -e 's|^admin = ""|admin = ""\ntls = ["127.0.0.1:853"]|' "$scratch/pldns.toml" >"$scratch/resolved.toml"
    cat >>"$scratch/resolved.toml" <<CONF
[log]
queries = "1/1"
[tls]
certificate = "$scratch/chain.pem"
private_key = "$scratch/key.pem"
CONF
    cat >"$place/resolved.conf" <<CONF
[Resolve]
DNS=127.0.0.1#dns.example
Domains=~.
DNSOverTLS=yes
DNSSEC=no
LLMNR=no
MulticastDNS=no
CONF
    cat >"$place/run.sh" <<'INNER'
set -u
scratch=$1 pldns=$2
shift 2
place=$scratch/resolved
# A network that is up, or resolved does not ask.
ip link set lo up
ip link add up0 type veth peer name up1 && ip address add 10.99.0.1/24 dev up0 && ip link set up0 up && ip link set up1 up
mount -t tmpfs none /run
mkdir -p /run/systemd/resolve
[ ! -d /etc/systemd ] || mount -t tmpfs none /etc/systemd
cp "$place/resolved.conf" /etc/systemd/resolved.conf
for file in passwd group; do
    cp "/etc/$file" "$place/$file"
    grep -q ^systemd-resolve: "$place/$file" || echo 'systemd-resolve:x:61000:61000::/:/bin/false' | cut -d: -f"$([ $file = passwd ] && echo 1-7 || echo 1-3)" >>"$place/$file"
    mount --bind "$place/$file" "/etc/$file"
done
chown systemd-resolve:systemd-resolve /run/systemd/resolve
authorities=/etc/ssl/certs/ca-certificates.crt
cat "$authorities" "$scratch/chain.pem" >"$place/authorities"
mount --bind "$place/authorities" "$authorities"
"$pldns" serve -c "$scratch/resolved.toml" --listen 127.0.0.1:5300 2>"$scratch/resolved.log" &
pids=$!
LD_LIBRARY_PATH=$place/usr/lib/$(uname -m)-linux-gnu/systemd:$place/usr/lib/$(uname -m)-linux-gnu SYSTEMD_LOG_TARGET=console \
    "$place/lib/systemd/systemd-resolved" >"$place/said" 2>&1 &
pids="$pids $!"
trap 'kill $pids; wait $pids' EXIT
for try in $(seq 50); do
    if dig +time=1 +tries=1 +short @127.0.0.53 dual.corp.example AAAA | grep -q fd00; then break; fi
    sleep 0.1
done
"$@"
cat "$place/said"
INNER
    check "systemd-resolved forwards by TLS" '10\.1\.0\.5' 'status: NOERROR' -- \
        unshare -n -m bash "$place/run.sh" "$scratch" "$pldns" dig -r +time=4 +tries=1 @127.0.0.53 "$api" A
    judge "systemd-resolved: by TLS alone" "$(grep '"rtype"' "$scratch/resolved.log")" '"transport":"tls"' '!"transport":"(udp|tcp)"' || true
}

checks_of_encrypted() {
    local tool how
    for tool in openssl curl; do
        command -v "$tool" >/dev/null || {
            echo "skip  DNS over TLS and HTTPS: $tool is not installed"
            return 0
        }
    done
    make_certificate
    serve encrypted start_encrypted
    local encrypted_pid=${started[-1]} url="https://dns.example:$https_port/dns-query"
    local safe=(+tls-ca="$scratch/chain.pem" +tls-hostname=dns.example)
    local a="^$api\\..*[[:space:]]A[[:space:]]+10\\.1\\.0\\.5"
    for how in "+tls -p $tls_port" "+https=/dns-query -p $https_port" "+https-get -p $https_port"; do
        # shellcheck disable=SC2086 # each word is an argument
        set -- kdig +time=4 +retry=0 @127.0.0.1 $how "${safe[@]}"
        check "kdig $1 ${how%% *}: A" "$a" 'status: NOERROR' "!$public" -- "$@" "$api" A
        check "kdig ${how%% *}: NXDOMAIN passes" 'status: NXDOMAIN' -- "$@" nosuch.blob.core.windows.net A
        check "kdig ${how%% *}: forwarded" '192\.0\.2\.50' -- "$@" www.example.net A
        check "kdig ${how%% *}: 40 addresses, no truncation" 'ANSWER: 40' -- "$@" many.corp.example A
        check "kdig ${how%% *}: padded" 'PADDING: [1-9]' 'Received 468 B' -- "$@" +padding "$api" A
    done
    # Debian's kdig speaks QUIC, but falls over where it is to check the certificate as well.
    if [[ $(kdig --help) == *'no]quic'* ]]; then
        set -- kdig +time=4 +retry=0 @127.0.0.1 +quic -p "$tls_port"
        check "kdig +quic: A" "$a" 'status: NOERROR; id: 0$' "!$public" 'QUIC session \(QUICv1\)' -- "$@" "$api" A
        check "kdig +quic: NXDOMAIN passes" 'status: NXDOMAIN' -- "$@" nosuch.blob.core.windows.net A
        check "kdig +quic: forwarded" '192\.0\.2\.50' -- "$@" www.example.net A
        check "kdig +quic: 40 addresses, no truncation" 'ANSWER: 40' -- "$@" many.corp.example A
        check "kdig +quic: padded" 'PADDING: [1-9]' 'Received 468 B' -- "$@" +padding "$api" A
    else
        echo "skip  kdig +quic: this kdig has no QUIC"
    fi
    checks_by_dnspython
    checks_by_chromium
    check "kdig: several queries on one TLS connection" '10\.1\.0\.5' '192\.0\.2\.50' -- \
        kdig +time=4 +retry=0 @127.0.0.1 +tls -p "$tls_port" "${safe[@]}" +keepopen "$api" www.example.net
    check "kdig: the listeners are found" 'alpn="?dot"? port="?'"$tls_port" '(dohpath|key7)="?/dns-query' 'alpn="?doq' -- \
        kdig +time=4 +retry=0 @127.0.0.1 -p "$plain_port" _dns.resolver.arpa SVCB
    local doh=(curl -sS --max-time 9 --cacert "$scratch/chain.pem" --resolve "dns.example:$https_port:127.0.0.1")
    # The health page, by a name that only this server knows.
    for how in --http1.1 --http2; do
        check "curl --doh-url $how" '"status":"ok"' -- \
            "${doh[@]}" "$how" --doh-url "$url" "http://loopback.corp.example:$health_port/healthz"
        printf '\0\0\1\0\0\1\0\0\0\0\0\0\3www\7example\3net\0\0\1\0\1' >"$scratch/query.bin"
        check "curl POST $how" '^200 application/dns-message' -- "${doh[@]}" "$how" -H 'Content-Type: application/dns-message' \
            --data-binary "@$scratch/query.bin" -o "$scratch/reply.bin" -w '%{http_code} %{content_type}\n' "$url"
        check "curl $how: other media type" '^415' -- "${doh[@]}" "$how" -H 'Content-Type: text/plain' -d x -o "$scratch/reply.bin" -w '%{http_code}\n' "$url"
        check "curl $how: other method" '^405' -- "${doh[@]}" "$how" -X DELETE -o "$scratch/reply.bin" -w '%{http_code}\n' "$url"
        check "curl $how: other path" '^404' -- "${doh[@]}" "$how" -o "$scratch/reply.bin" -w '%{http_code}\n' "${url%/*}/"
        check "curl $how: no message" '^400' -- "${doh[@]}" "$how" -o "$scratch/reply.bin" -w '%{http_code}\n' "$url"
    done
    check "openssl: TLS 1.2" 'Protocol *: TLSv1\.2' -- openssl s_client -connect "127.0.0.1:$tls_port" -tls1_2 -alpn dot -CAfile "$scratch/chain.pem" -verify_return_error
    check "openssl: nothing older" 'no peer certificate available' '!BEGIN CERTIFICATE' -- openssl s_client -connect "127.0.0.1:$tls_port" -tls1_1
    serve forwarder start_forwarder
    check "Unbound forwards by TLS" '10\.1\.0\.5' 'status: NOERROR' -- dig -r +time=4 +tries=1 -p "$port" @127.0.0.1 "$api" A
    checks_by_resolved
    judge "encrypted: nothing worse than a warning in the log" "$(cat "$scratch/encrypted.log")" '"message":"ready"' '!"level":"ERROR"' '!panicked' || true
    kill -TERM "$encrypted_pid"
    wait "$encrypted_pid" || true
}
