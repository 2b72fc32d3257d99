//! `pldns healthcheck`: asks the running server's own health or admin listener, for container health checks.

#![expect(clippy::disallowed_types, reason = "a command line tool that opens one connection")]

use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::SettingsArg;
use super::http::{HttpError, get, reachable};
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

/// The HTTP status of /healthz.
fn status(address: SocketAddr) -> Result<u16, HttpError> {
    let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let (status, _) = get(stream, &address.to_string(), "/healthz", None, ANSWER_MAX)?;
    Ok(status)
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
}
