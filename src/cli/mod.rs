//! The command line: one file a command.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub mod generate;

#[derive(Debug, Parser)]
#[command(
    name = "pldns",
    version,
    about = "The DNS server for Azure private endpoints"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Generate(generate::GenerateArgs),
}

/// Reads the command line and runs the command.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Generate(args) => generate::run(&args),
    }
}
