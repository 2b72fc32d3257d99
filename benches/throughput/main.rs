//! What a query costs: CPU time of the server process, on the same stream of queries, beside other servers and beside a
//! bare responder.
//!
//! `cargo bench --bench throughput -- --help`. What the figures mean stands in benches/README.md.

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "a measurement owns a clock and sockets")]

mod cores;
#[path = "../support/dns.rs"]
mod dns;
#[path = "../support/dnsmasq.rs"]
mod dnsmasq;
#[path = "../support/figures.rs"]
mod figures;
mod floor;
mod growth;
mod load;
#[path = "../support/mmsg.rs"]
mod mmsg;
mod peers;
#[path = "../support/process.rs"]
mod process;
mod report;
#[path = "../support/scratch.rs"]
mod scratch;
mod usage;
mod work;

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use load::{Load, Pace, Upstream};
use peers::{Peer, Setup};
use process::{Running, find_program, free_port};
use report::{Paced, Row, Sample};
use scratch::Scratch;
use work::{Source, Template, Work};

/// Queries a second at which latency is measured.
const LATENCY_RATE: f64 = 20_000.0;
/// Queries a second that every forwarder is asked for in W3.
const FORWARD_RATE: f64 = 60_000.0;
/// Answers that are read whole before a server is measured.
const CHECKED: usize = 500;
/// Says that this process is pinned already.
const PINNED: &str = "PLDNS_BENCH_PINNED";

/// Measure what a query costs.
#[derive(Debug, Parser)]
struct Args {
    /// Streams of queries; all where none is named
    #[arg(long, value_delimiter = ',', ignore_case = true)]
    work: Vec<Work>,
    /// Servers; all that are installed where none is named
    #[arg(long, value_delimiter = ',', ignore_case = true)]
    server: Vec<Peer>,
    /// Rounds; in each, every server has its turn
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Records in the table
    #[arg(long, default_value_t = 10_000)]
    records: u32,
    /// Lengths of the names that nobody asked for before, up to 50: queries of one length can leave as one
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=50))]
    lengths: u8,
    /// Measure at these fixed rates instead, queries a second: what a network sees, where each query wakes the server
    #[arg(long, value_delimiter = ',')]
    rate: Vec<u32>,
    /// Measure instead how the cost grows with records, cached answers, rules, views and partial wildcards
    #[arg(long, conflicts_with_all = ["work", "server", "rate"])]
    growth: bool,
    /// Measure instead what pldns costs with so many workers, each on a core of its own
    #[arg(long, value_delimiter = ',', conflicts_with_all = ["server", "rate", "growth"], value_parser = clap::value_parser!(u8).range(1..=64))]
    workers: Vec<u8>,
    /// Write the figures here too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// What a child process of the benchmark is
    #[arg(long, hide = true)]
    role: Option<Role>,
    #[arg(long, hide = true, default_value_t = 0)]
    port: u16,
    /// What cargo passes
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Role {
    Responder,
    Hickory,
}

fn main() {
    let args = Args::parse();
    let ended = match args.role {
        Some(Role::Responder) => floor::respond(args.port).map_err(Into::into),
        Some(Role::Hickory) => floor::serve_hickory(args.port, args.records),
        None => measure(&args),
    };
    if let Err(error) = ended {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

fn measure(args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let pin = find_program("taskset").filter(|_| cpus > 1);
    match &pin {
        Some(taskset) if std::env::var_os(PINNED).is_none() => {
            let mut again = Command::new(taskset);
            // After the servers' cores; the last one is shared where all are theirs.
            let ours = usize::from(args.workers.iter().copied().max().unwrap_or(1)).min(cpus - 1);
            again.args(["-c", &ours.to_string()]).arg(std::env::current_exe()?).args(std::env::args_os().skip(1));
            return Err(again.env(PINNED, "1").exec().into());
        }
        Some(_) => {}
        None if std::env::var_os(PINNED).is_none() => {
            eprintln!("taskset is missing, or the second CPU: nothing is pinned")
        }
        None => {}
    }
    let taskset = find_program("taskset").filter(|_| std::env::var_os(PINNED).is_some());
    if args.growth {
        println!("{}", growth::measure(args.rounds, Duration::from_secs_f64(args.seconds), taskset.as_deref())?);
        return Ok(());
    }
    if !args.workers.is_empty() {
        println!("{}", cores::measure(args, taskset.as_deref())?);
        return Ok(());
    }
    let works = if args.work.is_empty() { Work::ALL.to_vec() } else { args.work.clone() };
    let mut all = Vec::new();
    for work in works {
        let rows = measure_work(args, work, taskset.as_deref())?;
        let table = if args.rate.is_empty() {
            report::show(work, args.records, &rows)
        } else {
            report::show_rates(work, args.records, &args.rate, &rows)
        };
        println!("{table}");
        all.extend(rows.into_iter().map(|row| (work, row)));
    }
    if let Some(path) = &args.json {
        std::fs::write(path, format!("{:#}\n", report::to_json(&all)))?;
    }
    Ok(())
}

/// A server under measurement.
struct Subject {
    row: Row,
    running: Running,
    family: Vec<u32>,
    source: Source,
    // Its files live as long as it does.
    _scratch: Scratch,
}

fn measure_work(args: &Args, work: Work, pin: Option<&Path>) -> Result<Vec<Row>, Box<dyn std::error::Error>> {
    let mut upstream = Upstream::new()?;
    let mut subjects = Vec::new();
    let wanted = if args.server.is_empty() { Peer::ALL.to_vec() } else { args.server.clone() };
    for peer in wanted.into_iter().filter(|peer| peer.can(work)) {
        match start(args, work, peer, pin, &mut upstream) {
            Ok(subject) => subjects.push(subject),
            Err(error) => eprintln!("{} {}: {error}", work.name(), peer.name()),
        }
    }
    let length = Duration::from_secs_f64(args.seconds);
    let mut ended = Vec::new();
    for round in 1..=args.rounds {
        eprintln!("{}: round {round} of {}", work.name(), args.rounds);
        let mut place = 0;
        while let Some(subject) = subjects.get_mut(place) {
            let has_answers = if args.rate.is_empty() {
                let sample = sample(subject, work, length, &mut upstream)?;
                let has_answers = sample.has_answers();
                subject.row.samples.extend(has_answers.then_some(sample));
                has_answers
            } else {
                let samples = sample_rates(subject, &args.rate, length, &mut upstream)?;
                let has_answers = samples.iter().all(Paced::has_answers);
                subject.row.paced.extend(has_answers.then_some(samples));
                has_answers
            };
            if has_answers {
                place += 1;
            } else {
                // One that hangs would hold the CPU that all servers share.
                let subject = subjects.remove(place);
                eprintln!("{}: {} answers nothing any more and is ended", work.name(), subject.row.peer.name());
                ended.push(subject.into_row());
            }
        }
    }
    let rows = subjects.into_iter().map(Subject::into_row).chain(ended);
    Ok(rows.filter(|row| !row.samples.is_empty() || !row.paced.is_empty()).collect())
}

impl Subject {
    /// Ends it.
    fn into_row(mut self) -> Row {
        self.row.memory = usage::memory(&usage::family(self.running.pid()));
        self.row
    }
}

/// Starts a server, warms its cache, and sees that it answers rightly.
fn start(
    args: &Args,
    work: Work,
    peer: Peer,
    pin: Option<&Path>,
    upstream: &mut Upstream,
) -> Result<Subject, Box<dyn std::error::Error>> {
    let scratch = Scratch::new(&format!("throughput-{}", peer.name().replace(' ', "-")));
    let port = free_port();
    let setup = Setup { scratch: &scratch, port, upstream: upstream.address, work, records: args.records };
    let command = peer.command(&setup, pin).ok_or("not installed")?;
    let probe = if work.has_records() { work::record_name(0) } else { "probe.cached.example".to_owned() };
    let log = scratch.path().join("log");
    let running = run(command, port, &probe, &log, upstream)?;
    let family = usage::family(running.pid());
    let mut row = Row::new(peer, running.started_in, usage::memory(&family));
    let mut source = Source::new(work, args.records, args.lengths);
    if work.has_cached() {
        warm(&running, &Source::to_warm(), upstream)?;
    }
    if peer.is_judged() {
        let mut left = CHECKED;
        let mut load = Load::new(running.address, upstream, true)?;
        let checked = load.run(Duration::from_secs(10), Pace::Window, |send| {
            left = left.saturating_sub(1);
            if left > 0 {
                send(source.draw());
            }
            left > 0
        });
        row.checked = (checked.answered, checked.wrong);
        if checked.wrong > 0 || checked.lost > 0 {
            eprintln!(
                "  {}: of {} answers {} wrong, {} missing",
                peer.name(),
                checked.answered,
                checked.wrong,
                checked.lost
            );
        }
    }
    Ok(Subject { row, running, family, source, _scratch: scratch })
}

/// Starts a server whose first answer may need the upstream.
fn run(command: Command, port: u16, probe: &str, log: &Path, upstream: &mut Upstream) -> Result<Running, String> {
    std::thread::scope(|scope| {
        let starting = scope.spawn(|| Running::start(command, port, probe, log));
        while !starting.is_finished() {
            upstream.serve();
            std::thread::sleep(Duration::from_micros(500));
        }
        starting.join().unwrap_or_else(|_| Err("its start failed".to_owned()))
    })
}

/// Has every name asked until it is cached: a second pass for what was lost in the first.
fn warm(running: &Running, names: &[Template], upstream: &mut Upstream) -> std::io::Result<()> {
    for _ in 0..2 {
        let mut left = names.iter();
        Load::new(running.address, upstream, false)?.run(Duration::from_secs(60), Pace::Window, |send| {
            let next = left.next();
            if let Some(template) = next {
                send(template);
            }
            next.is_some()
        });
    }
    Ok(())
}

/// One turn of one server: cost and throughput, then latency.
fn sample(
    subject: &mut Subject,
    work: Work,
    length: Duration,
    upstream: &mut Upstream,
) -> Result<Sample, Box<dyn std::error::Error>> {
    let source = &mut subject.source;
    let mut load = Load::new(subject.running.address, upstream, false)?;
    let mut draw = |send: &mut dyn FnMut(&Template)| {
        send(source.draw());
        true
    };
    load.run(length / 10, Pace::Window, &mut draw);
    let before = usage::cpu(&subject.family);
    let full = load.run(length, Pace::Window, &mut draw);
    let cpu = usage::cpu(&subject.family).saturating_sub(before);
    let paced = load.run(length / 2, Pace::Fixed(LATENCY_RATE), &mut draw);
    let forwarded = match work {
        Work::Forwarded => Some(load.run(length / 2, Pace::Fixed(FORWARD_RATE), &mut draw)),
        _ => None,
    };
    Ok(Sample::new(&full, cpu, &paced, forwarded.as_ref()))
}

/// One turn of one server at each of the rates.
fn sample_rates(
    subject: &mut Subject,
    rates: &[u32],
    length: Duration,
    upstream: &mut Upstream,
) -> Result<Vec<Paced>, Box<dyn std::error::Error>> {
    let source = &mut subject.source;
    let mut load = Load::new(subject.running.address, upstream, false)?;
    let mut draw = |send: &mut dyn FnMut(&Template)| {
        send(source.draw());
        true
    };
    let mut samples = Vec::new();
    for &rate in rates {
        load.run(length / 10, Pace::Fixed(rate.into()), &mut draw);
        let before = usage::run_time(&subject.family);
        let outcome = load.run(length, Pace::Fixed(rate.into()), &mut draw);
        samples.push(Paced::new(&outcome, usage::run_time(&subject.family).saturating_sub(before)));
    }
    Ok(samples)
}
