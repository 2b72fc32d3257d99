//! What faults cost: one row a fault and server, the same load for all.
//!
//! `cargo bench --bench faults -- --help`. What the figures mean is in benches/README.md.

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "a measurement owns a clock and sockets")]

#[expect(dead_code, reason = "shared with other benchmarks")]
#[path = "../support/dns.rs"]
mod dns;
#[path = "../support/dnsmasq.rs"]
mod dnsmasq;
mod fault;
#[path = "../support/figures.rs"]
mod figures;
mod load;
#[path = "../support/process.rs"]
mod process;
mod report;
#[path = "../support/scratch.rs"]
mod scratch;
mod servers;
mod upstream;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use fault::{Fault, Upstreams};
use figures::table;
use load::{Experience, Group, Load, Plan};
use process::{Running, free_port};
use scratch::Scratch;
use servers::{Server, Setup};
use upstream::Upstream;

/// Measure what faults cost.
#[derive(Debug, Parser)]
struct Args {
    /// Faults to run; all where none is named
    #[arg(long, value_delimiter = ',', ignore_case = true)]
    fault: Vec<Fault>,
    /// Servers to run; all that are installed where none is named
    #[arg(long, value_delimiter = ',', ignore_case = true)]
    server: Vec<Server>,
    /// Length of a run whose fault is there all the time
    #[arg(long, default_value_t = 12)]
    seconds: u64,
    /// Length of a run whose fault begins after a third of it
    #[arg(long, default_value_t = 18)]
    timed: u64,
    /// Queries a second for names never asked before; as many go to names in the cache, and to records
    #[arg(long, default_value_t = 300)]
    rate: u32,
    /// Servers measured at the same time
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// What chance is drawn from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the figures here too, as a list of objects
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// What cargo passes
    #[arg(long, hide = true)]
    bench: bool,
}

/// One server with one fault.
struct Row {
    fault: Fault,
    server: Server,
    length: Duration,
    experience: Experience,
    /// Queries that came upstream for each name that was never asked before, TCP included.
    per_miss: f64,
    /// The most queries that came in 100 ms after the fault's end.
    most_after: usize,
    /// Queries that exceeded the upstream's limits.
    over_limit: usize,
    memory: [u64; 2],
    descriptors: [usize; 2],
}

fn main() {
    let args = Args::parse();
    let faults = if args.fault.is_empty() { Fault::value_variants().to_vec() } else { args.fault.clone() };
    let servers = if args.server.is_empty() { Server::ALL.to_vec() } else { args.server.clone() };
    for server in servers.iter().filter(|server| server.program().is_none()) {
        eprintln!("{}: not installed", server.name());
    }
    let servers: Vec<Server> = servers.into_iter().filter(|server| server.program().is_some()).collect();
    let tasks: Vec<(Fault, Server)> =
        faults.iter().flat_map(|fault| servers.iter().map(move |server| (*fault, *server))).collect();
    let (next, done) = (Mutex::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..args.jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let number = take(&next);
                    let Some(&(fault, server)) = tasks.get(number) else { return };
                    eprintln!("{} {}: about {} s", fault.name(), server.name(), length(fault, &args).as_secs() + 4);
                    match run(fault, server, &args) {
                        Ok(row) => lock(&done).push((number, row)),
                        Err(error) => eprintln!("{} {}: {error}", fault.name(), server.name()),
                    }
                }
            });
        }
    });
    let mut rows = std::mem::take(&mut *lock(&done));
    rows.sort_unstable_by_key(|(number, _)| *number);
    let rows: Vec<Row> = rows.into_iter().map(|(_, row)| row).collect();
    println!("{}", table(&report::shown(&rows)));
    if let Some(path) = args.json {
        let list: Vec<_> = rows.iter().map(report::to_json).collect();
        if let Err(error) = std::fs::write(&path, format!("{:#}\n", serde_json::Value::from(list))) {
            eprintln!("{}: {error}", path.display());
        }
    }
}

fn length(fault: Fault, args: &Args) -> Duration {
    Duration::from_secs(if fault.thirds().is_some() { args.timed } else { args.seconds })
}

/// One server in one fault, both started anew.
fn run(fault: Fault, server: Server, args: &Args) -> Result<Row, String> {
    let said = |error: std::io::Error| error.to_string();
    let port = free_port();
    let scratch = Scratch::new(&format!("faults-{}-{port}", server.name()));
    let length = length(fault, args);
    let (v4, v6) = (IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST));
    let places: &[(Fault, IpAddr)] = match fault.upstreams() {
        Upstreams::One => &[(fault, v4)],
        Upstreams::TwoBoth => &[(fault, v4), (fault, v4)],
        Upstreams::TwoFirst => &[(fault, v4), (Fault::None, v4)],
        Upstreams::TwoFirstIpv6 => &[(fault, v6), (Fault::None, v4)],
    };
    let started = places.iter().zip(args.seed..).map(|(&(fault, ip), seed)| Upstream::start(fault, seed, ip));
    let upstreams: Vec<Upstream> = started.collect::<Result<_, _>>().map_err(said)?;
    let addresses: Vec<SocketAddr> = upstreams.iter().map(Upstream::address).collect();
    let setup = Setup { scratch: &scratch, port, upstreams: &addresses, is_limited: fault == Fault::Burst };
    let command = server.command(&setup).ok_or("not installed")?;
    let running = Running::start(command, port, "probe.known.test", &scratch.path().join("log"))?;
    let time = |thirds: std::ops::Range<u32>| length / 3 * thirds.start..length / 3 * thirds.end;
    let plan = Plan {
        rate: args.rate,
        has_table: server.has_records(),
        has_slow: fault == Fault::Slow,
        has_bursts: fault == Fault::Burst,
        flood: fault.thirds().filter(|_| fault == Fault::Flood).map(time),
    };
    let mut load = Load::new(running.address, plan).map_err(said)?;
    load.warm();
    let before = usage(running.pid());
    for upstream in &upstreams {
        upstream.begin(length);
    }
    let stop = fault.thirds().filter(|_| fault == Fault::Stopped).map(time);
    let mut is_stopped = false;
    let experience = load.run(length, |since| {
        let stops = stop.as_ref().is_some_and(|stop| stop.contains(&since));
        if stops != is_stopped {
            is_stopped = stops;
            signal(running.pid(), if stops { "-STOP" } else { "-CONT" });
        }
    });
    let after = usage(running.pid());
    let tallies: Vec<_> = upstreams.iter().map(Upstream::tally).collect();
    let misses = experience.asked(Group::Forwarded) + experience.asked(Group::Slow) + experience.flood;
    Ok(Row {
        fault,
        server,
        length,
        per_miss: tallies.iter().map(|tally| tally.queries).sum::<usize>() as f64 / misses.max(1) as f64,
        most_after: tallies.iter().map(|tally| tally.most_after).sum(),
        over_limit: tallies.iter().map(|tally| tally.over_limit).sum(),
        experience,
        memory: [before.0, after.0],
        descriptors: [before.1, after.1],
    })
}

/// Sends a signal to a server that this program started.
fn signal(pid: u32, signal: &str) {
    if let Err(error) = Command::new("kill").args([signal, &pid.to_string()]).status() {
        eprintln!("kill {signal}: {error}");
    }
}

/// Resident memory in MiB, and open file descriptors.
fn usage(pid: u32) -> (u64, usize) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = resident.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or_default();
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    (kib / 1024, descriptors)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The number of the next task.
fn take(next: &Mutex<usize>) -> usize {
    let mut next = lock(next);
    *next += 1;
    *next - 1
}
