//! `pldns check`: reads what `serve` would read, and says what `serve` would refuse.

use std::process::ExitCode;

use clap::Args;

use super::SettingsArg;
use crate::document::Severity;
use crate::reload::{Loaded, load};

/// The arguments of `pldns check`.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    settings: SettingsArg,
}

pub(super) fn run(args: &CheckArgs) -> ExitCode {
    let loaded = load(&args.settings.config);
    for problem in loaded.problems.iter() {
        eprintln!("{problem}");
    }
    if loaded.problems.has_errors() {
        let (errors, warnings) = (loaded.problems.count(Severity::Error), loaded.problems.count(Severity::Warning));
        eprintln!("{}: {errors} errors, {warnings} warnings", args.settings.config.display());
        return ExitCode::FAILURE;
    }
    print_summary(&loaded);
    ExitCode::SUCCESS
}

fn print_summary(loaded: &Loaded) {
    let stats = loaded.table.stats();
    let settings = &loaded.settings;
    println!(
        "records:   {} at {} names, {} addresses with reverse names, from {} files",
        stats.records,
        stats.names,
        stats.addresses,
        loaded.record_files.len()
    );
    println!("views:     {}", loaded.table.views().len());
    println!("zones:     {}", settings.zones.len());
    println!("rules:     {}", settings.forwards.len());
    for rule in &settings.forwards {
        let upstreams: Vec<_> = rule.upstreams.iter().map(ToString::to_string).collect();
        println!("           {} -> {}", rule.zone, upstreams.join(", "));
    }
    let listeners: Vec<_> = settings.listen.dns.iter().map(ToString::to_string).collect();
    println!("listeners: {} (UDP and TCP)", listeners.join(", "));
    println!("clients:   {} networks allowed", settings.allow.len());
}
