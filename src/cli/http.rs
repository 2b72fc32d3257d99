//! One GET to the admin or health listener of a running server.

#![expect(clippy::disallowed_types, reason = "a command line tool that opens one connection")]

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::SettingsArg;
use crate::reload::settings_alone;

/// The port of the admin listener where none is given.
const PORT: u16 = 8053;
/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(3);
/// How long the server may take: it asks upstreams, several in turn.
const ANSWER: Duration = Duration::from_secs(60);
/// Bytes of an answer.
const ANSWER_MAX: u64 = 16 << 20;

/// The address of an admin listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServerUrl {
    host: String,
    port: u16,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    /// The text is not an address.
    #[error("must be the address of an admin listener, such as http://127.0.0.1:8053")]
    Url,
    /// The scheme is not http.
    #[error("admin listeners are reached by http://; for another machine, use an SSH tunnel")]
    Scheme,
    /// The connection failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// What came back is not HTTP.
    #[error("the answer is not HTTP")]
    Malformed,
}

/// Why a page could not be had, with its address.
#[derive(Debug, thiserror::Error)]
#[error("{url}: {error}")]
pub(super) struct FetchError {
    url: String,
    error: PageError,
}

#[derive(Debug, thiserror::Error)]
enum PageError {
    #[error("{0}")]
    Http(HttpError),
    #[error("the token is missing or wrong; it is read from [admin] token_file of the settings file (-c)")]
    Token,
    #[error("HTTP status {0}: {1}")]
    Status(u16, String),
    #[error("not an answer of this version: {0}")]
    OtherVersion(serde_json::Error),
}

impl ServerUrl {
    /// Reads `http://HOST:PORT`, `HOST:PORT` or `HOST`.
    pub(super) fn parse(text: &str) -> Result<Self, HttpError> {
        let rest = match text.split_once("://") {
            Some(("http", rest)) => rest,
            Some(_) => return Err(HttpError::Scheme),
            None => text,
        };
        let rest = rest.trim_end_matches('/');
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                (host, port.parse().map_err(|_| HttpError::Url)?)
            }
            _ => (rest, PORT),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-_:%".contains(c);
        if host.is_empty() || !host.chars().all(is_plain) {
            return Err(HttpError::Url);
        }
        Ok(Self { host: host.to_owned(), port })
    }

    /// The address as it is reported.
    pub(super) fn shown(&self) -> String {
        if self.host.contains(':') {
            format!("http://[{}]:{}", self.host, self.port)
        } else {
            format!("http://{}:{}", self.host, self.port)
        }
    }

    /// Status and body of a path.
    pub(super) fn get(&self, path: &str, token: Option<&str>) -> Result<(u16, String), HttpError> {
        let stream = self.connect()?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.set_write_timeout(Some(CONNECT))?;
        let shown = self.shown();
        let (status, answer) = get(stream, shown.trim_start_matches("http://"), path, token, ANSWER_MAX)?;
        let answer = String::from_utf8(answer).map_err(|_| HttpError::Malformed)?;
        let (_, body) = answer.split_once("\r\n\r\n").ok_or(HttpError::Malformed)?;
        Ok((status, body.to_owned()))
    }

    /// The JSON of a page. The token is the one of the settings file.
    pub(super) fn fetch<T: DeserializeOwned>(&self, path: &str, settings: &SettingsArg) -> Result<T, FetchError> {
        let page = match self.get(path, token(settings).as_deref()) {
            Ok((200, body)) => serde_json::from_str(&body).map_err(PageError::OtherVersion),
            Ok((401, _)) => Err(PageError::Token),
            Ok((status, body)) => Err(PageError::Status(status, body.trim().to_owned())),
            Err(error) => Err(PageError::Http(error)),
        };
        page.map_err(|error| FetchError { url: self.shown(), error })
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in (self.host.as_str(), self.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// The address to connect to: a wildcard is reached over loopback.
pub(super) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Asks for a path over a connection; the status, and the answer as it came, up to so many bytes.
pub(super) fn get(
    mut stream: TcpStream,
    host: &str,
    path: &str,
    token: Option<&str>,
    answer_max: u64,
) -> Result<(u16, Vec<u8>), HttpError> {
    let mut request =
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\nConnection: close\r\n");
    if let Some(token) = token {
        request += &format!("Authorization: Bearer {token}\r\n");
    }
    stream.write_all(format!("{request}\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.take(answer_max).read_to_end(&mut answer)?;
    Ok((status_of(&answer).ok_or(HttpError::Malformed)?, answer))
}

fn status_of(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|byte| *byte == b'\n').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    words.next().filter(|version| version.starts_with("HTTP/1."))?;
    words.next()?.parse().ok()
}

/// The token of the admin listener, where the settings file names one that can be read.
#[expect(clippy::disallowed_methods, reason = "the token is a file")]
fn token(settings: &SettingsArg) -> Option<String> {
    let file = settings_alone(&settings.config).ok()?.admin.token_file?;
    let path = settings.config.parent()?.join(file);
    Some(std::fs::read_to_string(path).ok()?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_admin_listeners() {
        for (text, shown) in [
            ("http://127.0.0.1:8053", "http://127.0.0.1:8053"),
            ("http://127.0.0.1:8053/", "http://127.0.0.1:8053"),
            ("10.0.0.4:9000", "http://10.0.0.4:9000"),
            ("10.0.0.4", "http://10.0.0.4:8053"),
            ("::1", "http://[::1]:8053"),
            ("[::1]:99", "http://[::1]:99"),
            ("dns.corp.example", "http://dns.corp.example:8053"),
        ] {
            assert_eq!(ServerUrl::parse(text).unwrap().shown(), shown, "{text}");
        }
        for text in ["", "https://10.0.0.4", "http://", "a b", "10.0.0.4:x", "10.0.0.4/explain?x", "a\r\nb"] {
            assert!(ServerUrl::parse(text).is_err(), "{text}");
        }
    }
    #[test]
    fn only_an_http_status_counts() {
        assert_eq!(status_of(b"HTTP/1.1 200 OK\r\n\r\n"), Some(200));
        assert_eq!(status_of(b"HTTP/1.1 503 Service Unavailable\r\n"), Some(503));
        for nonsense in [&b""[..], b"200", b"HTTP/1.1", b"HTTP/1.1 twohundred", b"SSH-2.0-x 200", b"\xff\xfe"] {
            assert_eq!(status_of(nonsense), None);
        }
    }
}
