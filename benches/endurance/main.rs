//! Are queries lost while the server changes? Reloads and restarts at half of the maximum rate, every query accounted for.
//!
//! `cargo bench --bench endurance -- --help`. What the figures mean stands in benches/README.md.

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "a measurement owns a clock and sockets")]

#[path = "../support/dns.rs"]
#[expect(dead_code, reason = "of what the benchmarks share, this one needs queries and replies")]
mod dns;
#[path = "../support/figures.rs"]
mod figures;
mod kernel;
mod load;
#[path = "../support/mmsg.rs"]
mod mmsg;
mod place;
#[path = "../support/process.rs"]
#[expect(dead_code, reason = "of what the benchmarks share, this one needs free ports")]
mod process;
#[path = "../support/scratch.rs"]
mod scratch;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};

use figures::{percentile, table};
use load::{Load, Outcome, Pace};
use place::{Place, Server};

/// Length of the look for the maximum and of the run without a change, seconds.
const CALM: f64 = 10.0;
/// How long a run goes on before the first change and after the last one.
const AROUND: Duration = Duration::from_secs(1);

/// Lose queries, or not.
#[derive(Debug, Parser)]
struct Args {
    /// Runs; all where none is named
    #[arg(long, value_delimiter = ',')]
    run: Vec<Run>,
    /// Records of the large table
    #[arg(long, default_value_t = 100_000)]
    records: u32,
    /// Records of the table that is reloaded many times a second
    #[arg(long, default_value_t = 1_000)]
    few: u32,
    /// Reloads of the large table, one after another
    #[arg(long, default_value_t = 20)]
    reloads: u32,
    /// Seconds of many reloads a second
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// How many a second
    #[arg(long, default_value_t = 10)]
    rate: u32,
    /// Restarts
    #[arg(long, default_value_t = 20)]
    restarts: u32,
    /// Share of the maximum rate
    #[arg(long, default_value_t = 0.5)]
    share: f64,
    /// Workers; 0: one per CPU
    #[arg(long, default_value_t = 0)]
    workers: usize,
    /// What cargo passes
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Run {
    /// The large table, reloaded again and again
    Large,
    /// A small table, many reloads a second
    Many,
    /// One process after another
    Restart,
}

/// A run with all that was counted.
struct Report {
    name: String,
    outcome: Outcome,
    /// How often it changed, and how long each change took.
    changes: Vec<Duration>,
    received: u64,
    dropped_at_server: u64,
    dropped_at_client: u64,
    /// Memory at most, MiB.
    memory: u64,
}

fn main() {
    let args = Args::parse();
    match measure(&args) {
        Ok(true) => {}
        Ok(false) => std::process::exit(1),
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(2);
        }
    }
}

/// Runs all; whether nothing was lost by the server.
fn measure(args: &Args) -> Result<bool, String> {
    let wanted = |run| args.run.is_empty() || args.run.contains(&run);
    let mut reports = Vec::new();
    let (large, calm) = (Duration::from_secs_f64(CALM), AtomicBool::new(false));
    let maximum = {
        let mut place = Place::new(args.records, args.workers);
        let server = place.start()?;
        let outcome = new_load(&place, args.records)?.run(Pace::Window, large, &calm);
        place.ended(server, true)?;
        outcome.answered as f64 / outcome.length.as_secs_f64()
    };
    let rate = maximum * args.share;
    println!("at most {maximum:.0} queries a second; the runs have {rate:.0}\n");
    reports.push(run("no change", args, args.records, rate, |_, server| {
        std::thread::sleep(large);
        Ok((server, Vec::new(), 0))
    })?);
    if wanted(Run::Large) {
        let name = format!("{} reloads of {} records", args.reloads, args.records);
        reports.push(run(&name, args, args.records, rate, |place, server| {
            let reloads = (0..args.reloads).map(|number| {
                place.write_records(args.records, 31 + number % 2);
                place.reload()
            });
            Ok((server, reloads.collect::<Result<_, _>>()?, 0))
        })?);
    }
    if wanted(Run::Many) {
        let name = format!("{} reloads/s of {} records for {} s", args.rate, args.few, args.seconds);
        reports.push(run(&name, args, args.few, rate, |place, server| {
            let begin = Instant::now();
            let reloads = (0..args.rate * args.seconds).map(|number| {
                let due = Duration::from_secs_f64(f64::from(number) / f64::from(args.rate));
                std::thread::sleep(due.saturating_sub(begin.elapsed()));
                place.write_records(args.few, 31 + number % 2);
                place.reload()
            });
            let reloads = reloads.collect::<Result<Vec<_>, _>>()?;
            let took = begin.elapsed().as_secs_f64();
            println!("{} reloads in {took:.1} s: {:.1} a second", reloads.len(), reloads.len() as f64 / took);
            Ok((server, reloads, 0))
        })?);
    }
    if wanted(Run::Restart) {
        let name = format!("{} restarts with {} records", args.restarts, args.records);
        reports.push(run(&name, args, args.records, rate, |place, mut server| {
            let mut restarts = Vec::new();
            let mut received = 0;
            for _ in 0..args.restarts {
                let begin = Instant::now();
                let next = place.start()?;
                let counted = place.ended(std::mem::replace(&mut server, next), false)?;
                restarts.push(begin.elapsed());
                received += counted.received;
                if counted.received != counted.answered {
                    return Err(format!("a process that ended answered less than it received: {counted:?}"));
                }
            }
            Ok((server, restarts, received))
        })?);
    }
    println!("\n{}", table(&rows(&reports)));
    Ok(reports.iter().all(|report| report.lost_by_server() == 0 && report.outcome.wrong == 0))
}

fn new_load(place: &Place, records: u32) -> Result<Load, String> {
    Load::new(place.dns, records).map_err(|error| error.to_string())
}

/// Runs a load while `change` does its work; it gives the process that serves then, and what those before it received.
fn run(
    name: &str,
    args: &Args,
    records: u32,
    rate: f64,
    change: impl FnOnce(&mut Place, Server) -> Result<(Server, Vec<Duration>, u64), String> + Send,
) -> Result<Report, String> {
    let mut place = Place::new(records, args.workers);
    let server = place.start()?;
    let mut load = new_load(&place, records)?;
    let (ports, dns) = (load.ports(), [place.dns.port()]);
    let done = AtomicBool::new(false);
    let (outcome, changed) = std::thread::scope(|scope| {
        let changing = scope.spawn(|| {
            std::thread::sleep(AROUND);
            let changed = change(&mut place, server);
            std::thread::sleep(AROUND);
            done.store(true, Ordering::Relaxed);
            changed
        });
        let outcome = load.run(Pace::Fixed(rate), Duration::MAX, &done);
        (outcome, changing.join().unwrap_or_else(|_| Err("the change panicked".to_owned())))
    });
    let (server, changes, before) = changed?;
    let (dropped_at_server, dropped_at_client) = (kernel::drops(&dns), kernel::drops(&ports));
    let (_, memory) = server.memory();
    let counted = place.ended(server, true)?;
    let received = before + counted.received;
    Ok(Report {
        name: name.to_owned(),
        outcome,
        changes,
        received,
        dropped_at_server,
        dropped_at_client,
        memory: memory / 1024,
    })
}

impl Report {
    /// What was not answered and not thrown away on the generator's own side: in the server's sockets, or by itself.
    fn lost_by_server(&self) -> u64 {
        self.outcome.lost.saturating_sub(self.dropped_at_client)
    }
}

fn rows(reports: &[Report]) -> Vec<Vec<String>> {
    let head = [
        "run",
        "not sent",
        "sent",
        "answered",
        "lost",
        "received",
        "full server socket",
        "full client socket",
        "wrong",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "most ms",
        "lag ms",
        "change ms",
        "most",
        "MiB",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for report in reports {
        let outcome = &report.outcome;
        let millis = |micros: u32| format!("{:.2}", f64::from(micros) / 1000.0);
        let mut changes: Vec<u32> = report.changes.iter().map(|change| change.as_micros() as u32).collect();
        changes.sort_unstable();
        rows.push(vec![
            report.name.clone(),
            outcome.skipped.to_string(),
            outcome.sent.to_string(),
            outcome.answered.to_string(),
            outcome.lost.to_string(),
            report.received.to_string(),
            report.dropped_at_server.to_string(),
            report.dropped_at_client.to_string(),
            (outcome.wrong + outcome.stray).to_string(),
            millis(percentile(&outcome.took, 50.0)),
            millis(percentile(&outcome.took, 99.0)),
            millis(percentile(&outcome.took, 99.9)),
            millis(percentile(&outcome.took, 100.0)),
            format!("{:.1}", outcome.lag.as_secs_f64() * 1000.0),
            millis(percentile(&changes, 50.0)),
            millis(percentile(&changes, 100.0)),
            report.memory.to_string(),
        ]);
    }
    rows
}
