//! The command line. One file a command; exit codes: 0 success, 1 the input or the check failed, 2 usage error.

mod check;
mod compare;
mod discover;
mod explain;
mod generate;
mod healthcheck;
mod http;
mod isolation;
mod packaging;
mod serve;
mod verify;
mod zones;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::document::Problems;

/// Why the value of an option is not valid, as clap shows it after the option and the value.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct InvalidValue(String);

/// The version, as in `pldns -V`.
const VERSION: &str = concat!("pldns ", env!("CARGO_PKG_VERSION"));

/// The version with facts of the build, as in `pldns --version`.
const LONG_VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\ncommit:   ",
    env!("PLDNS_BUILD_COMMIT"),
    "\ntarget:   ",
    env!("PLDNS_BUILD_TARGET"),
    "\nprofile:  ",
    env!("PLDNS_BUILD_PROFILE"),
    "\ncompiler: ",
    env!("PLDNS_BUILD_RUSTC"),
);

/// The DNS server for Azure private endpoints.
#[derive(Debug, Parser)]
#[command(name = "pldns", version, long_version = LONG_VERSION, about, max_term_width = 100)]
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
    /// Turn workspace and endpoint metadata into records
    Generate(generate::GenerateArgs),
    /// Print the zones of private endpoints, and the forwarders that lead to this server
    Zones(zones::ZonesArgs),
    /// Explain how a name is answered, with a verdict, the reason and the fix
    Explain(explain::ExplainArgs),
    /// Ask a running server for everything that the records promise
    Verify(verify::VerifyArgs),
    /// Read private endpoints from Azure Resource Manager and print records
    Discover(discover::DiscoverArgs),
    /// Ask the running server whether it is healthy, for container health checks
    Healthcheck(healthcheck::HealthcheckArgs),
    /// Print a completion script for a shell
    Completions(packaging::CompletionsArgs),
    /// Print the manual page, or write all manual pages into a directory
    Man(packaging::ManArgs),
    /// Print a JSON Schema of the settings or of records files, for editors
    Schema(packaging::SchemaArgs),
}

/// Where the settings are.
#[derive(Debug, Args)]
struct SettingsArg {
    /// The settings file
    #[arg(short, long, value_name = "FILE", default_value = "/etc/pldns/pldns.toml")]
    config: PathBuf,
}

/// Prints problems to standard error, and how many there are.
fn report(path: &Path, problems: &Problems) {
    let mut err = io::stderr().lock();
    // Nothing is left to be done where standard error is closed.
    let _ = write!(err, "{problems}").and_then(|()| writeln!(err, "{}: {}", path.display(), problems.summary()));
}

/// Runs the program.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(args) => serve::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Generate(args) => generate::run(&args),
        Command::Zones(args) => zones::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Discover(args) => discover::run(&args),
        Command::Healthcheck(args) => healthcheck::run(&args),
        Command::Completions(args) => packaging::completions(&args),
        Command::Man(args) => packaging::man(&args),
        Command::Schema(args) => packaging::schema(&args),
    }
}
