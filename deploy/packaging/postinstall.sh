#!/bin/sh
# After installing: the user, and a word on port 53. The service is not started: its settings come first.
set -e
if command -v systemd-sysusers >/dev/null 2>&1; then
    systemd-sysusers pldns.conf || true
fi
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || true
    # An upgrade restarts a server that runs; systemd keeps its sockets, and no query is lost.
    if systemctl is-active --quiet pldns.service; then
        systemctl restart pldns.service || true
    fi
fi
if [ -e /run/systemd/resolve/stub-resolv.conf ]; then
    echo "pldns: systemd-resolved holds port 53 on 127.0.0.53 and 127.0.0.54. Set listen.dns in /etc/pldns/pldns.toml to this"
    echo "pldns: machine's own address, or DNSStubListener=no in /etc/systemd/resolved.conf."
fi
echo "pldns: edit /etc/pldns/pldns.toml, run 'pldns check', then 'systemctl enable --now pldns'."
exit 0
