# shellcheck shell=bash
# The status page in Debian's Chromium: drawn, filled by its script, nothing refused by its own policy, usable by everyone as far as
# axe-core can tell. Part of run.sh.

# Where axe-core comes from npm when AXE names no file.
axe_core=axe-core@4.14.1

# Prints the path of axe-core's script, where it can be had.
axe_script() {
    local file=${AXE:-$scratch/axe/node_modules/axe-core/axe.min.js}
    if [ ! -e "$file" ] && command -v npm >/dev/null; then
        timeout 120 npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$scratch/axe" "$axe_core" >/dev/null 2>&1 || true
    fi
    [ ! -e "$file" ] || echo "$file"
}

start_page() {
    local plain_port
    page_port=$port plain_port=$(free_port)
    sed -e "s|^admin = \"\"|admin = \"127.0.0.1:$page_port\"|" "$scratch/pldns.toml" >"$scratch/page.toml"
    page_dns=$plain_port
    start_server page "127.0.0.1:$plain_port"
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
    local axe
    axe=$(axe_script)
    if command -v chromedriver >/dev/null && command -v python3 >/dev/null && [ -n "$axe" ]; then
        judge "axe-core: light, dark, wide, narrow" \
            "$(timeout 180 python3 "$here/axe.py" "$axe" "http://127.0.0.1:$page_port/" 2>&1 || echo "exit status $?")" \
            '^light 1280: no violation$' '^dark 1280: no violation$' '^light 390: no violation$' '^dark 390: no violation$' \
            '!exit status' || true
    else
        echo "skip  the status page by axe-core: needs chromedriver, python3 and axe-core (npm, or its script's path in AXE)"
    fi
    kill -TERM "$page_pid"
    wait "$page_pid" || true
}
