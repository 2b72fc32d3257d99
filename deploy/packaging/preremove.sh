#!/bin/sh
# Before removal (not before an upgrade): the service ends.
set -e
case "${1:-}" in
upgrade | 1) exit 0 ;;
esac
if [ -d /run/systemd/system ]; then
    systemctl disable --now pldns.service pldns.socket || true
fi
exit 0
