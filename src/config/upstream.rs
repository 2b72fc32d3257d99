//! Upstreams as rules write them.
//!
//! Always an address, never a name alone: to resolve the name of an upstream would take an upstream. Where the way is
//! encrypted, the name that the certificate must be for stands behind `#`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::document::{Document, Placed};
use crate::forward::{Protocol, Target};
use crate::wire::Name;

/// Port of plain DNS.
const PORT: u16 = 53;
/// Port of DNS over TLS (RFC 7858 §3.1).
const TLS_PORT: u16 = 853;
/// Port of DNS over HTTPS.
const HTTPS_PORT: u16 = 443;
/// The path that servers of DNS over HTTPS have where they say nothing else (RFC 8484 §4.1.1).
const HTTPS_PATH: &str = "/dns-query";

/// What to write, for each way.
const PLAIN_HINT: &str = "\"10.0.0.4\", \"10.0.0.4:5353\", \"[fd00::4]:53\", \"tcp://10.0.0.4\", \
    \"tls://10.0.0.4#dns.example\" or \"https://10.0.0.4/dns-query#dns.example\"";
const TLS_HINT: &str = "\"tls://10.0.0.4#dns.example\": the address, and behind # the name in its certificate";
const HTTPS_HINT: &str =
    "\"https://10.0.0.4/dns-query#dns.example\": the address, the path, and behind # the name in its certificate";

/// Reads an upstream; what is wrong with it goes to the document.
pub(super) fn read_upstream(document: &Document<'_>, text: &Placed<&str>) -> Option<Target> {
    match parse_upstream(text.value) {
        Ok(target) => Some(target),
        Err((message, hint)) => {
            document.error(text.span.clone(), message, hint);
            None
        }
    }
}

/// What is wrong, and what to write instead.
type Refused = (String, &'static str);

fn parse_upstream(text: &str) -> Result<Target, Refused> {
    match text.split_once("://") {
        None => plain(text, text, Protocol::Datagram),
        Some(("tcp", place)) => plain(text, place, Protocol::Tcp),
        Some(("tls", place)) => tls(text, place),
        Some(("https", place)) => https(text, place),
        Some((scheme, _)) => {
            let message = format!("unsupported upstream scheme: {}", scheme.escape_debug());
            Err((message, PLAIN_HINT))
        }
    }
}

fn plain(text: &str, place: &str, protocol: Protocol) -> Result<Target, Refused> {
    let address = parse_address(place, PORT).ok_or_else(|| no_upstream(text, PLAIN_HINT))?;
    Ok(Target { address, protocol })
}

fn tls(text: &str, place: &str) -> Result<Target, Refused> {
    let (place, name) = split_name(place);
    let address = encrypted_address(text, place, TLS_PORT, TLS_HINT)?;
    let server_name = server_name(address, name, TLS_HINT)?;
    Ok(Target { address, protocol: Protocol::Tls { server_name } })
}

fn https(text: &str, place: &str) -> Result<Target, Refused> {
    let (place, name) = split_name(place);
    let (place, path) = match place.find('/') {
        Some(at) => place.split_at(at),
        None => (place, HTTPS_PATH),
    };
    let address = encrypted_address(text, place, HTTPS_PORT, HTTPS_HINT)?;
    // Requests carry the name, and an IPv6 address in its place would need other brackets than the certificate has.
    let has_name = name.is_some_and(|name| name.parse::<IpAddr>().map_or(true, |name| name.is_ipv4()));
    if address.is_ipv6() && !has_name {
        let message =
            format!("\"{}\": the server name for certificate verification is missing after `#`", text.escape_debug());
        return Err((message, HTTPS_HINT));
    }
    if !path.bytes().all(is_path_byte) {
        let message = format!("\"{}\" is not a valid URI path", path.escape_debug());
        return Err((message, HTTPS_HINT));
    }
    let server_name = server_name(address, name, HTTPS_HINT)?;
    let path = path.into();
    Ok(Target { address, protocol: Protocol::Https { server_name, path } })
}

fn split_name(place: &str) -> (&str, Option<&str>) {
    match place.split_once('#') {
        Some((place, name)) => (place, Some(name)),
        None => (place, None),
    }
}

/// The bytes of a path and query that need no escape (RFC 3986 §3.3, §3.4), and escapes.
fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@%?".contains(&byte)
}

fn encrypted_address(text: &str, place: &str, port: u16, hint: &'static str) -> Result<SocketAddr, Refused> {
    let is_name = || {
        let host = place.rsplit_once(':').map_or(place, |(host, _)| host);
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        host.bytes().any(|byte| byte.is_ascii_alphabetic()) && host.bytes().all(is_host)
    };
    parse_address(place, port).ok_or_else(|| {
        if is_name() {
            let message = format!(
                "\"{}\": upstreams must be IP addresses; a host name could not be resolved before an upstream is configured",
                text.escape_debug()
            );
            (message, hint)
        } else {
            no_upstream(text, hint)
        }
    })
}

/// The name that the certificate must be for: a host name or an address; where there is none, the upstream's address.
fn server_name(address: SocketAddr, name: Option<&str>, hint: &'static str) -> Result<Arc<str>, Refused> {
    let Some(name) = name else {
        return Ok(address.ip().to_string().into());
    };
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_dns = !name.is_empty() && name.bytes().all(is_host) && Name::parse(name).is_ok();
    // A certificate's names have no dot at their end.
    if name.parse::<IpAddr>().is_err() && (!is_dns || name.ends_with('.')) {
        let message = format!("\"{}\" is not a valid certificate name", name.escape_debug());
        return Err((message, hint));
    }
    Ok(name.to_ascii_lowercase().into())
}

fn parse_address(place: &str, port: u16) -> Option<SocketAddr> {
    let address = place.parse::<SocketAddr>().ok().or_else(|| {
        let bare = place.strip_prefix('[').and_then(|place| place.strip_suffix(']')).unwrap_or(place);
        let address = bare.parse::<IpAddr>().ok()?;
        Some(SocketAddr::new(address, port))
    });
    address.filter(|address| address.port() != 0 && !address.ip().is_unspecified())
}

fn no_upstream(text: &str, hint: &'static str) -> Refused {
    (format!("\"{}\" is not a valid upstream", text.escape_debug()), hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encrypted_upstreams_in_all_spellings() {
        for (text, shown) in [
            ("tls://10.0.0.4#dns.example", "tls://10.0.0.4:853#dns.example"),
            ("tls://10.0.0.4:8853#DNS.Example", "tls://10.0.0.4:8853#dns.example"),
            ("tls://[fd00::4]#dns.example", "tls://[fd00::4]:853#dns.example"),
            ("tls://fd00::4#dns.example", "tls://[fd00::4]:853#dns.example"),
            ("tls://10.0.0.4", "tls://10.0.0.4:853"),
            ("tls://10.0.0.4#10.0.0.4", "tls://10.0.0.4:853"),
            ("tls://10.0.0.4#10.0.0.5", "tls://10.0.0.4:853#10.0.0.5"),
            ("tls://fd00::4", "tls://[fd00::4]:853"),
            ("https://10.0.0.4/dns-query#dns.example", "https://10.0.0.4:443/dns-query#dns.example"),
            ("https://10.0.0.4", "https://10.0.0.4:443/dns-query"),
            ("https://10.0.0.4/", "https://10.0.0.4:443/"),
            ("https://[fd00::4]:8443/a/b?c=d#dns.example", "https://[fd00::4]:8443/a/b?c=d#dns.example"),
        ] {
            let target = parse_upstream(text).unwrap();
            assert_eq!(target.to_string(), shown, "{text}");
            assert_eq!(parse_upstream(shown).unwrap(), target, "what is shown can be written");
        }
    }

    #[test]
    fn what_cannot_be_asked_is_refused_with_a_hint() {
        for (text, expected) in [
            ("https://dns.example/dns-query", "upstreams must be IP addresses"),
            ("https://dns.example:8443/dns-query", "upstreams must be IP addresses"),
            ("tls://dns.example", "upstreams must be IP addresses"),
            ("tls://dns.example#dns.example", "upstreams must be IP addresses"),
            ("tls://", "is not a valid upstream"),
            ("tls://10.0.0.4:0#dns.example", "is not a valid upstream"),
            ("tls://0.0.0.0#dns.example", "is not a valid upstream"),
            ("tls://10.0.0.4/dns-query", "is not a valid upstream"),
            ("tls://10.0.0.4#", "is not a valid certificate name"),
            ("tls://10.0.0.4#a..b", "is not a valid certificate name"),
            ("tls://10.0.0.4#a.", "is not a valid certificate name"),
            ("tls://10.0.0.4#a/b", "is not a valid certificate name"),
            ("https://10.0.0.4/{?dns}#a", "is not a valid URI path"),
            ("https://10.0.0.4/ #a", "is not a valid URI path"),
            ("https://[fd00::4]/dns-query", "the server name for certificate verification is missing"),
            ("https://fd00::4/dns-query#fd00::4", "the server name for certificate verification is missing"),
            ("quic://10.0.0.4", "unsupported upstream scheme"),
            ("http://10.0.0.4", "unsupported upstream scheme"),
            ("10.0.0.4#dns.example", "is not a valid upstream"),
        ] {
            let (message, hint) = parse_upstream(text).unwrap_err();
            assert!(message.contains(expected), "{text}: {message}");
            assert!(hint.contains("10.0.0.4"), "{text}: {hint}");
        }
    }
}
