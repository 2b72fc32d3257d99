# shellcheck shell=bash
# A loop through Unbound, which drops the option that tells one, keeps the case of letters, and has flags of its own.
# Part of run.sh.

start_circle() {
    unbound_base >"$scratch/circle.conf"
    cat >>"$scratch/circle.conf" <<CONF
server:
    local-data: "www.example.net. A 192.0.2.50"
    log-queries: yes
forward-zone:
    name: "."
    forward-addr: 127.0.0.1@$loop_port
CONF
    start_unbound circle
}

start_looping() {
    printf '[listen]\nadmin = ""\ndrain = "0s"\n[[forward]]\nzone = "."\nupstreams = ["127.0.0.1:%s"]\n' "$circle_port" >"$scratch/looping.toml"
    start_server looping "127.0.0.1:$loop_port"
}

checks_of_loop() {
    local loop_port circle_port looping_pid
    loop_port=$(free_port)
    serve circle start_circle
    circle_port=$port
    start_looping || die "looping does not start"
    looping_pid=${started[-1]}
    check "loop through Unbound: fails at once" 'status: SERVFAIL' 'Query time: [0-9]{1,3} msec' -- \
        dig -r +time=4 +tries=1 -p "$loop_port" @127.0.0.1 service.corp.example A
    check "loop through Unbound: what Unbound has is answered" '192\.0\.2\.50' -- \
        dig -r +time=4 +tries=1 -p "$loop_port" @127.0.0.1 www.example.net A
    judge "loop through Unbound: it is asked once" "asked $(grep -ci 'service\.corp\.example\. A IN' "$scratch/circle.log") times" '^asked [12] times' || true
    judge "loop through Unbound: the log says so" "$(cat "$scratch/looping.log")" 'forwarding loop detected' '!"level":"ERROR"' || true
    kill -TERM "$looping_pid"
    wait "$looping_pid" || true
}
