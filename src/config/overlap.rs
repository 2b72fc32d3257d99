//! Listeners that take each other's address, and addresses that this machine lacks.

use std::net::SocketAddr;
use std::ops::Range;

use super::environment::Environment;
use super::settings::Settings;
use crate::document::{Document, TableReader};

/// The keys of `[listen]` that hold addresses, and whether they take the UDP and the TCP port.
const KEYS: [(&str, bool, bool); 6] = [
    ("dns", true, true),
    ("tls", false, true),
    ("https", false, true),
    ("quic", true, false),
    ("admin", false, true),
    ("health", false, true),
];

struct Listener {
    address: SocketAddr,
    key: &'static str,
    udp: bool,
    tcp: bool,
    span: Range<usize>,
}

impl Listener {
    /// Whether both want the same port of the same address. Sockets for IPv6 do not take IPv4, so wildcards of the two
    /// families stand beside one another; port 0 is any that is free.
    fn overlaps(&self, other: &Self) -> bool {
        let (a, b) = (self.address, other.address);
        let same_address =
            a.ip() == b.ip() || (a.is_ipv4() == b.is_ipv4() && (a.ip().is_unspecified() || b.ip().is_unspecified()));
        let same_transport = self.udp && other.udp || self.tcp && other.tcp;
        a.port() == b.port() && a.port() != 0 && same_address && same_transport
    }
}

/// Notes what of `[listen]` cannot be bound beside the rest of it, or not on this machine.
pub(super) fn check_listeners(
    document: &Document<'_>,
    reader: &TableReader<'_>,
    environment: &Environment<'_>,
    settings: &Settings,
) {
    let Some(listen) = reader.table("listen").map(|table| document.reader(table, "[listen]")) else { return };
    let mut seen: Vec<Listener> = Vec::new();
    for (key, udp, tcp) in KEYS {
        for (address, span) in
            listen.strings(key).into_iter().filter_map(|text| Some((text.value.parse().ok()?, text.span)))
        {
            let listener = Listener { address, key, udp, tcp, span };
            check_machine(document, &listener, environment);
            match seen.iter().find(|other| listener.overlaps(other)) {
                Some(other) if other.key == key && other.address == address => {
                    let message = format!("{address} is in `{key}` twice");
                    document.warning(listener.span.clone(), message, "remove one of the two");
                }
                Some(other) => {
                    let message = format!(
                        "{address} in `{key}` and {} in `{}` ({}) are the same port",
                        other.address,
                        other.key,
                        document.place(other.span.start)
                    );
                    document.error(
                        listener.span.clone(),
                        message,
                        "name another port, or one of the two addresses only",
                    );
                }
                None => {}
            }
            seen.push(listener);
        }
    }
    let Some(admin) = settings.listen.admin.filter(|_| settings.listen.admin_is_default) else { return };
    let admin = Listener { address: admin, key: "admin", udp: false, tcp: true, span: 0..0 };
    if let Some(other) = seen.iter().find(|other| admin.overlaps(other)) {
        let message = format!(
            "the default of `admin`, {}, has no place beside this: there will be no admin listener",
            admin.address
        );
        document.warning(other.span.clone(), message, "name another address in `admin`, or admin = \"\" for none");
    }
}

fn check_machine(document: &Document<'_>, listener: &Listener, environment: &Environment<'_>) {
    let ip = listener.address.ip();
    if (environment.is_local)(ip) {
        return;
    }
    let family = if ip.is_ipv6() { "IPv6" } else { "IPv4" };
    if ip.is_unspecified() {
        let message = format!("{} in `{}`: the kernel of this machine has no {family}", listener.address, listener.key);
        document.error(listener.span.clone(), message, "remove this address");
    } else {
        let message = format!("{} in `{}`: this machine has no such address", listener.address, listener.key);
        document.warning(
            listener.span.clone(),
            message,
            "`ip address` lists those that it has; wildcards are 0.0.0.0 and [::]",
        );
    }
}
