//! `pldns discover`: what `[azure.discover]` does, once, as a file or on standard output.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::SettingsArg;
use super::generate::write_records;
use crate::discover::once;
use crate::generate::Format;
use crate::reload::{authorities_alone, settings_alone};
use crate::upstream::Trust;

/// Read private endpoints from Azure Resource Manager and print records
///
/// Reads with the identity and cloud of [azure.discover] in the settings. Nothing is written unless every subscription was
/// read completely.
#[derive(Debug, Args)]
pub(super) struct DiscoverArgs {
    #[command(flatten)]
    settings: SettingsArg,
    /// A subscription to read instead of those of the settings, once for each.
    #[arg(long = "subscription", value_name = "ID")]
    subscriptions: Vec<String>,
    /// Write here instead of to standard output; replaced as a whole, or not at all.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The format of the records.
    #[arg(long, value_enum, default_value_t = Format::Toml)]
    format: Format,
}

/// Runs the command: 0 when every subscription was read, 1 otherwise.
pub(super) fn run(args: &DiscoverArgs) -> ExitCode {
    let mut settings = match settings_alone(&args.settings.config) {
        Ok(settings) => settings,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::FAILURE;
        }
    };
    let discover = &mut settings.azure.discover;
    if !args.subscriptions.is_empty() {
        discover.subscriptions = args.subscriptions.iter().map(|id| id.to_ascii_lowercase()).collect();
        discover.management_groups.clear();
    }
    if !discover.is_on() {
        eprintln!(
            "{}: [azure.discover] names no subscriptions and no management groups; --subscription ID names one",
            args.settings.config.display()
        );
        return ExitCode::FAILURE;
    }
    let authorities = match authorities_alone(&settings, &args.settings.config) {
        Ok(authorities) => authorities,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::FAILURE;
        }
    };
    let (discovered, report) = once(&settings, Arc::new(Trust::new(&authorities)));
    for remark in &report.remarks {
        eprintln!("{remark}");
    }
    for (name, endpoints) in &discovered.conflicts {
        eprintln!("warning: {name}: endpoints disagree and views are off; left out: {}", endpoints.join(", "));
    }
    for (of, failure, text) in &report.failures {
        eprintln!("error: {of}: {} ({text})", failure.word());
    }
    if !report.is_complete() {
        eprintln!("nothing is written: not every subscription was read");
        return ExitCode::FAILURE;
    }
    write_records(&discovered.to_records(report.read), args.format, args.output.as_deref())
}
