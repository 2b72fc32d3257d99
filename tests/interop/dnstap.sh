# shellcheck shell=bash
# dnstap, read by Debian's dnstap-ldns. Part of run.sh.

start_tapped() {
    { cat "$scratch/pldns.toml"; printf '\n[dnstap]\nfile = "%s/tap.fstrm"\nidentity = "interop"\n' "$scratch"; } >"$scratch/tapped.toml"
    start_server tapped "127.0.0.1:$port"
}

checks_of_dnstap() {
    command -v dnstap-ldns >/dev/null || {
        echo "skip  dnstap: dnstap-ldns is not installed"
        return 0
    }
    serve tapped start_tapped
    local tapped_pid=${started[-1]}
    dig +short -p "$port" @127.0.0.1 "$api" A >/dev/null
    dig +short +tcp -p "$port" @127.0.0.1 www.example.net A >/dev/null
    kill -TERM "$tapped_pid"
    wait "$tapped_pid" || true
    check "dnstap-ldns: a line for each query" "CR 127\\.0\\.0\\.1 UDP [0-9]+b \"$api\\.\" IN A" \
        'CR 127\.0\.0\.1 TCP [0-9]+b "www\.example\.net\." IN A' -- dnstap-ldns -r "$scratch/tap.fstrm" -q
    check "dnstap-ldns: identity, both messages" 'identity: "?interop' 'type: CLIENT_RESPONSE' 'query_message: \|' \
        'response_message: \|' 'IN[[:space:]]+A[[:space:]]+10\.1\.0\.5' -- dnstap-ldns -r "$scratch/tap.fstrm" -y
}
