# shellcheck shell=bash
# The status page in Debian's Chromium: drawn, filled by its script, nothing refused by its own policy. Part of run.sh.

start_page() {
    local plain_port
    page_port=$port plain_port=$(free_port)
    sed -e "s|^admin = \"\"|admin = \"127.0.0.1:$page_port\"|" "$scratch/pldns.toml" >"$scratch/page.toml"
    page_dns=$plain_port
    start page "grep -q '\"message\":\"ready\"' '$scratch/page.log'" \
        "$pldns" serve -c "$scratch/page.toml" --listen "127.0.0.1:$plain_port"
}

# Prints the document after its script ran, and what the browser's console said.
browse() {
    timeout 60 chromium --headless=new --no-sandbox --disable-gpu --user-data-dir="$scratch/chromium" \
        --virtual-time-budget=5000 --enable-logging=stderr --dump-dom "$@" 2>"$scratch/console.log" || true
    grep -o 'CONSOLE.*' "$scratch/console.log" || true
}

checks_of_page() {
    command -v chromium >/dev/null || {
        echo "skip  the status page: chromium is not installed"
        return 0
    }
    serve page start_page
    local page_pid=${started[-1]}
    dig +short -p "$page_dns" @127.0.0.1 "$api" A >/dev/null
    dig +short -p "$page_dns" @127.0.0.1 www.example.net A >/dev/null
    judge "Chromium: the status page is drawn by its script" "$(browse "http://127.0.0.1:$page_port/")" \
        'id="ready">ready<' '<main id="main" class="wide" tabindex="-1">' '<line class="grid"' 'id="f-upstreams">1 / 1<' \
        "$api" '<meter|pending|127\.0\.0\.1' '!CONSOLE.*(Refused|Uncaught|Content Security Policy|TypeError|ERR_)' || true
    judge "Chromium: dark, narrow" \
        "$(browse --blink-settings=preferredColorScheme=0 --window-size=390,844 "http://127.0.0.1:$page_port/")" \
        'id="ready">ready<' "$api" '!CONSOLE.*(Refused|Uncaught|Content Security Policy|TypeError|ERR_)' || true
    kill -TERM "$page_pid"
    wait "$page_pid" || true
}
