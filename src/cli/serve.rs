//! `pldns serve`: the server in the foreground.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Args;

use super::SettingsArg;
use crate::config::{LogFormat, LogLevel};
use crate::{control, log};

/// The arguments of `pldns serve`.
#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    settings: SettingsArg,
    /// Listen here for plain DNS instead of where the settings say; may be given several times
    #[arg(long, value_name = "ADDR")]
    listen: Vec<SocketAddr>,
}

pub(super) fn run(args: &ServeArgs) -> ExitCode {
    let served = control::serve(&args.settings.config, &args.listen);
    if let Err(error) = &served {
        log::start(LogFormat::Auto, LogLevel::Info);
        tracing::error!("{error}");
    }
    log::finish();
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
