//! What faults of an upstream cost: one row a fault, the same load, servers beside each other.
//!
//! `cargo bench --bench faults -- --help`. What the figures mean is in benches/README.md.

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "a measurement owns a clock and sockets")]

#[expect(dead_code, reason = "shared with other benchmarks")]
#[path = "../support/dns.rs"]
mod dns;
mod fault;
#[path = "../support/figures.rs"]
mod figures;
mod load;
#[path = "../support/process.rs"]
mod process;
#[path = "../support/scratch.rs"]
mod scratch;
mod servers;
mod upstream;

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use fault::Fault;
use figures::{percentile, table};
use load::{Experience, Load};
use process::{Running, free_port};
use scratch::Scratch;
use servers::Server;
use upstream::Upstream;

/// Measure what faults of an upstream cost.
#[derive(Debug, Parser)]
struct Args {
    /// Faults to run; all where none is named
    #[arg(long, value_delimiter = ',', ignore_case = true)]
    fault: Vec<Fault>,
    /// Servers to run; all that are installed where none is named
    #[arg(long, value_delimiter = ',', ignore_case = true)]
    server: Vec<Server>,
    /// Length of each run
    #[arg(long, default_value_t = 12)]
    seconds: u64,
    /// Queries a second for names never asked before; as many go to names in the cache
    #[arg(long, default_value_t = 300)]
    rate: u32,
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
    server: &'static str,
    experience: Experience,
    /// Queries that came upstream for each name that was never asked before, TCP included.
    per_miss: f64,
    /// The most queries that came in 100 ms after the fault's end.
    most_after: usize,
    memory: [u64; 2],
    descriptors: [usize; 2],
}

fn main() {
    let args = Args::parse();
    let faults = if args.fault.is_empty() { Fault::ALL.to_vec() } else { args.fault.clone() };
    let servers = if args.server.is_empty() { Server::ALL.to_vec() } else { args.server.clone() };
    let mut rows = Vec::new();
    for &fault in &faults {
        for &server in &servers {
            if server.program().is_none() {
                eprintln!("{}: not installed", server.name());
                continue;
            }
            eprintln!("{} {}: about {} s", fault.name(), server.name(), args.seconds + 6);
            match run(fault, server, &args) {
                Ok(row) => rows.push(row),
                Err(error) => eprintln!("{} {}: {error}", fault.name(), server.name()),
            }
        }
    }
    println!("{}", table(&shown(&rows)));
    if let Some(path) = args.json {
        let list: Vec<_> = rows.iter().map(to_json).collect();
        if let Err(error) = std::fs::write(&path, format!("{:#}\n", serde_json::Value::from(list))) {
            eprintln!("{}: {error}", path.display());
        }
    }
}

/// One server in one fault, both started anew.
fn run(fault: Fault, server: Server, args: &Args) -> Result<Row, String> {
    let said = |error: std::io::Error| error.to_string();
    let scratch = Scratch::new("faults");
    let length = Duration::from_secs(args.seconds);
    let upstream = Upstream::start(fault, args.seed).map_err(said)?;
    let port = free_port();
    let command = server.command(&scratch, port, upstream.address()).ok_or("not installed")?;
    let running = Running::start(command, port, "probe.known.test", &scratch.path().join("log"))?;
    let mut load = Load::new(running.address, args.rate).map_err(said)?;
    load.warm();
    let before = usage(running.pid());
    upstream.begin(length);
    let experience = load.run(length);
    let after = usage(running.pid());
    let tally = upstream.tally();
    let misses = experience.missed.asked.max(1);
    Ok(Row {
        fault,
        server: server.name(),
        per_miss: tally.queries as f64 / misses as f64,
        most_after: tally.most_after,
        experience,
        memory: [before.0, after.0],
        descriptors: [before.1, after.1],
    })
}

/// Resident memory in MiB, and open file descriptors.
fn usage(pid: u32) -> (u64, usize) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = resident.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or_default();
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    (kib / 1024, descriptors)
}

fn shown(rows: &[Row]) -> Vec<Vec<String>> {
    let head = [
        "fault", "server", "missed %", "p50 ms", "p99 ms", "cached %", "p99 ms", "wrong", "q/miss", "100 ms", "MiB",
        "fd",
    ];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    for row in rows {
        let Row { experience: Experience { missed, cached, wrong }, .. } = row;
        let ms = |times: &[u32], percent| format!("{:.1}", f64::from(percentile(times, percent)) / 1000.0);
        lines.push(vec![
            row.fault.name().to_owned(),
            row.server.to_owned(),
            format!("{:.2}", missed.success()),
            ms(&missed.times, 50.0),
            ms(&missed.times, 99.0),
            format!("{:.2}", cached.success()),
            ms(&cached.times, 99.0),
            wrong.to_string(),
            format!("{:.2}", row.per_miss),
            row.most_after.to_string(),
            format!("{} > {}", row.memory[0], row.memory[1]),
            format!("{} > {}", row.descriptors[0], row.descriptors[1]),
        ]);
    }
    lines
}

fn to_json(row: &Row) -> serde_json::Value {
    let Row { experience: Experience { missed, cached, wrong }, .. } = row;
    serde_json::json!({
        "fault": row.fault.name(),
        "server": row.server,
        "missed_success_percent": missed.success(),
        "missed_p50_us": percentile(&missed.times, 50.0),
        "missed_p99_us": percentile(&missed.times, 99.0),
        "cached_success_percent": cached.success(),
        "cached_p99_us": percentile(&cached.times, 99.0),
        "wrong": wrong,
        "queries_per_miss": row.per_miss,
        "most_in_100_ms_after": row.most_after,
        "memory_mib": row.memory,
        "descriptors": row.descriptors,
    })
}
