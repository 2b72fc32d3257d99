//! The command line. One file a command; exit codes: 0 well, 1 the input or the check failed, 2 wrong usage.

mod check;
mod serve;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// The DNS server for Azure private endpoints.
#[derive(Debug, Parser)]
#[command(name = "pldns", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server in the foreground
    Serve(serve::ServeArgs),
    /// Read settings and records as `serve` would, and report every problem
    Check(check::CheckArgs),
}

/// Where the settings are.
#[derive(Debug, Args)]
struct SettingsArg {
    /// The settings file
    #[arg(short, long, value_name = "FILE", default_value = "/etc/pldns/pldns.toml")]
    config: PathBuf,
}

/// Runs the program.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(args) => serve::run(&args),
        Command::Check(args) => check::run(&args),
    }
}
