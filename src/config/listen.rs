//! `[listen]` and `[admin]`: listeners and admin access.

use std::net::SocketAddr;

use super::settings::{Listen, Settings};
use crate::document::{Document, Placed, TableReader, parse_duration};

/// Fewer connections than this leave none beside those that are kept for the probe and this machine.
const CONNECTIONS_MIN: u64 = 64;
/// More connections than a process may have descriptors, by the kernel's own limit.
const CONNECTIONS_MAX: u64 = 1 << 20;

pub(super) fn read_listen(document: &Document<'_>, section: &TableReader<'_>, settings: &mut Settings) {
    if let Some(texts) = section.texts("dns") {
        settings.listen.dns = texts.iter().filter_map(|text| read_address(document, "dns", text)).collect();
        settings.listen.dns_is_default = false;
    }
    let Listen { tls, https, quic, .. } = &mut settings.listen;
    for (key, place) in [("tls", tls), ("https", https), ("quic", quic)] {
        if let Some(texts) = section.texts(key) {
            *place = texts.iter().filter_map(|text| read_address(document, key, text)).collect();
        }
    }
    if !cfg!(feature = "quic") {
        for text in section.texts("quic").unwrap_or_default() {
            let message = "this build has no DNS over QUIC: it was built without the feature `quic`";
            document.error(text.span, message, "quic = []; `tls` and `https` it has");
        }
    }
    settings.listen.admin = read_optional_address(document, section, "admin", settings.listen.admin);
    settings.listen.admin_is_default = section.key_span("admin").is_none();
    settings.listen.health = read_optional_address(document, section, "health", settings.listen.health);
    if let Some(connections) = section.number("connections", CONNECTIONS_MIN..=CONNECTIONS_MAX, 4096) {
        settings.listen.connections = connections.value as usize;
        settings.places.connections = connections.span;
    }
    if let Some(connections) = section.number("connections_per_address", 1..=CONNECTIONS_MAX, 64) {
        settings.listen.connections_per_address = connections.value as usize;
    }
    if let Some(drain) = section.parsed("drain", "a duration", parse_duration) {
        settings.listen.drain = drain.value;
    }
}

fn read_optional_address(
    document: &Document<'_>,
    section: &TableReader<'_>,
    key: &'static str,
    default: Option<SocketAddr>,
) -> Option<SocketAddr> {
    match section.text(key) {
        Some(text) if text.value.is_empty() => None,
        Some(text) => read_address(document, key, &text),
        None => default,
    }
}

fn read_address(document: &Document<'_>, key: &str, text: &Placed<&str>) -> Option<SocketAddr> {
    let address = text.value.parse().ok();
    if address.is_none() {
        let message = format!("\"{}\" in `{key}` is not a socket address (ADDRESS:PORT)", text.value.escape_debug());
        document.error(text.span.clone(), message, "\"10.0.0.4:53\" or \"[fd00::4]:53\"");
    }
    address
}

pub(super) fn read_admin(document: &Document<'_>, section: &TableReader<'_>, settings: &mut Settings) {
    if let Some(file) = section.text("token_file") {
        if file.value.is_empty() {
            document.error(file.span, "`token_file` names no file", "token_file = \"admin.token\"");
        } else {
            settings.admin.token_file = Some(file.value.to_owned());
            settings.places.token_file = file.span;
        }
    }
}

/// Non-loopback admin listeners require a token.
pub(super) fn refuse_open_admin(document: &Document<'_>, reader: &TableReader<'_>, settings: &Settings) {
    let open = settings.listen.admin.filter(|address| !address.ip().is_loopback());
    if let (Some(address), None) = (open, &settings.admin.token_file) {
        let listen = reader.table("listen").map(|table| document.reader(table, "[listen]"));
        let span = listen.and_then(|listen| listen.key_span("admin")).unwrap_or(0..0);
        document.error(
            span,
            format!("{address} is not a loopback address, and no token is configured"),
            "[admin] token_file = \"admin.token\", or an address of loopback",
        );
    }
}
