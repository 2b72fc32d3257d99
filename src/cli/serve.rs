//! `pldns serve`: the server in the foreground.

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;

use clap::Args;

use super::{InvalidValue, SettingsArg, report};
use crate::control::{self, ServeError};
use crate::log;

/// The arguments of `pldns serve`.
#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    settings: SettingsArg,
    /// Listen here for plain DNS instead of where the settings say; may be given several times
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = parse_listen)]
    listen: Vec<SocketAddr>,
}

pub(super) fn run(args: &ServeArgs) -> ExitCode {
    let path = &args.settings.config;
    let served = control::serve(path, &args.listen);
    match &served {
        Ok(()) => {}
        Err(ServeError::Settings(problems)) => report(path, problems),
        Err(error) if log::is_started() => tracing::error!("{error}"),
        Err(error) => eprintln!("error: {error}"),
    }
    log::finish();
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// An address with its port; what lacks something is shown with what may be meant.
fn parse_listen(text: &str) -> Result<SocketAddr, InvalidValue> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let host = text.strip_suffix(":53").unwrap_or(text);
    let meant = match host.trim_start_matches('[').trim_end_matches(']') {
        "localhost" => Some(IpAddr::from([127, 0, 0, 1])),
        "" | "*" => Some(IpAddr::from([0, 0, 0, 0])),
        host => host.parse().ok(),
    };
    let meant =
        meant.map_or_else(|| "127.0.0.1:53\" or \"[::1]:53".to_owned(), |ip| SocketAddr::new(ip, 53).to_string());
    Err(InvalidValue(format!("not an IP address with a port; hint: \"{meant}\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_an_address_with_a_port_gets_a_hint() {
        assert_eq!(parse_listen("[::1]:5353").unwrap().port(), 5353);
        for (text, hint) in [
            ("127.0.0.1", "\"127.0.0.1:53\""),
            ("localhost", "\"127.0.0.1:53\""),
            ("localhost:53", "\"127.0.0.1:53\""),
            (":53", "\"0.0.0.0:53\""),
            ("::1", "\"[::1]:53\""),
            ("dns.example:53", "\"127.0.0.1:53\" or \"[::1]:53\""),
        ] {
            let message = parse_listen(text).unwrap_err().to_string();
            assert!(message.ends_with(&format!("hint: {hint}")), "{text}: {message}");
        }
    }
}
