//! `pldns check`: reads what `serve` would read, and says what `serve` would refuse.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;

use super::{SettingsArg, report};
use crate::control::{Bounds, MemoryBound, RecordSizes, memory_limit, preflight, worker_count};
use crate::reload::{Loaded, load};

/// The arguments of `pldns check`.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    settings: SettingsArg,
}

pub(super) fn run(args: &CheckArgs) -> ExitCode {
    let path = &args.settings.config;
    let mut loaded = load(path);
    let found_here = preflight(path, &loaded);
    loaded.problems.extend(found_here);
    if loaded.problems.has_errors() {
        report(path, &loaded.problems);
        return ExitCode::FAILURE;
    }
    let printed = print_summary(&mut io::stdout().lock(), &loaded);
    report(path, &loaded.problems);
    match printed {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

/// Prints what would be served. A reader that closes the pipe early has seen enough.
fn print_summary(out: &mut impl Write, loaded: &Loaded) -> io::Result<()> {
    let stats = loaded.table.stats();
    let settings = &loaded.settings;
    let files = loaded.record_files;
    let (records, names, addresses) = (stats.records, stats.names, stats.addresses);
    writeln!(
        out,
        "records:   {records} at {names} names, {addresses} addresses with reverse names, from {files} files"
    )?;
    writeln!(out, "views:     {}", loaded.table.views().len())?;
    writeln!(out, "zones:     {}", settings.zones.len())?;
    writeln!(out, "rules:     {}", settings.forwards.len())?;
    for rule in &settings.forwards {
        let upstreams: Vec<_> = rule.upstreams.iter().map(ToString::to_string).collect();
        writeln!(out, "           {} -> {}", rule.zone, upstreams.join(", "))?;
    }
    let listeners: Vec<_> = settings.listen.dns.iter().map(ToString::to_string).collect();
    writeln!(out, "listeners: {} (UDP and TCP)", listeners.join(", "))?;
    let listen = &settings.listen;
    for (address, what) in [(listen.admin, "admin"), (listen.health, "health")] {
        address.map_or(Ok(()), |address| writeln!(out, "           {address} ({what})"))?;
    }
    writeln!(out, "clients:   {} networks allowed", settings.allow.len())?;
    let workers = worker_count(settings);
    let (records, limit) = (RecordSizes::of(loaded), memory_limit(settings));
    let bounds = Bounds::fit(settings, records, workers, limit, None);
    let bound = MemoryBound::of(settings, records, workers, &bounds);
    writeln!(out, "memory:    {} MiB at most, {workers} workers", mebi(bound.total()))?;
    if let Some(limit) = limit.filter(|&limit| bound.total() <= limit) {
        let why = match settings.max_memory {
            Some(_) => "process.max_memory",
            None => "three quarters of the memory that there is",
        };
        writeln!(out, "           what waits is bounded so that all fits into {} MiB, {why}", limit >> 20)?;
    }
    bound.0.iter().try_for_each(|(part, bytes)| writeln!(out, "           {part}: {} MiB", mebi(*bytes)))?;
    let buffers = mebi(MemoryBound::receive_buffers(settings, workers));
    writeln!(out, "           besides, of the kernel's: {buffers} MiB of receive buffers, and those of connections")
}

/// Bytes in MiB, rounded up.
fn mebi(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}
