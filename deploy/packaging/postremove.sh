#!/bin/sh
# After removal: systemd forgets the unit; `purge` removes what the server itself wrote.
set -e
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || true
fi
if [ "${1:-}" = purge ]; then
    rm -rf /var/lib/pldns
fi
exit 0
