//! `pldns healthcheck`: asks the running server's own health or admin listener, for container health checks.

#![expect(clippy::disallowed_types, reason = "a command line tool that opens one connection")]

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::SettingsArg;
use crate::reload::settings_alone;

/// How long connecting, sending and each read may take.
const TIMEOUT: Duration = Duration::from_secs(3);
/// More than the head of an answer of ours.
const ANSWER_MAX: u64 = 4096;

/// Ask the running server whether it is healthy
#[derive(Debug, Args)]
pub(super) struct HealthcheckArgs {
    #[command(flatten)]
    settings: SettingsArg,
}

/// Runs the command: 0 when /healthz answers 200, 1 otherwise.
pub(super) fn run(args: &HealthcheckArgs) -> ExitCode {
    let settings = match settings_alone(&args.settings.config) {
        Ok(settings) => settings,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::FAILURE;
        }
    };
    let Some(address) = settings.listen.health.or(settings.listen.admin) else {
        eprintln!(
            "{}: neither `listen.health` nor `listen.admin` has an address: there is no listener to ask",
            args.settings.config.display()
        );
        return ExitCode::FAILURE;
    };
    let address = reachable(address);
    match status(address) {
        Ok(200) => ExitCode::SUCCESS,
        Ok(status) => {
            eprintln!("http://{address}/healthz answered {status}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("http://{address}/healthz does not answer: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The address to connect to: a wildcard is reached over loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The HTTP status of /healthz.
fn status(address: SocketAddr) -> io::Result<u16> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX).read_to_end(&mut answer)?;
    status_of(&answer).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP"))
}

fn status_of(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|byte| *byte == b'\n').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    words.next().filter(|version| version.starts_with("HTTP/1."))?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_is_reached_over_loopback() {
        for (listens, asked) in [
            ("0.0.0.0:8080", "127.0.0.1:8080"),
            ("[::]:8080", "[::1]:8080"),
            ("10.0.0.4:8080", "10.0.0.4:8080"),
            ("127.0.0.1:8053", "127.0.0.1:8053"),
        ] {
            assert_eq!(reachable(listens.parse().unwrap()), asked.parse().unwrap());
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
