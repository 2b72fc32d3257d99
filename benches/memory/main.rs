//! What a server's memory is spent on: connections that are idle and that ended, queries that wait, records, cached answers.
//!
//! `cargo bench --bench memory -- --help`. What the figures mean is in benches/README.md.

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "a measurement owns a clock and sockets")]

mod clients;
#[path = "../support/dns.rs"]
#[expect(dead_code, reason = "other benchmarks read replies")]
mod dns;
#[path = "../support/figures.rs"]
#[expect(dead_code, reason = "other benchmarks have medians")]
mod figures;
#[path = "../support/process.rs"]
mod process;
#[path = "../support/scratch.rs"]
mod scratch;
mod servers;
#[path = "../throughput/usage.rs"]
#[expect(dead_code, reason = "other benchmarks measure CPU time")]
mod usage;

use std::time::Duration;

use clap::Parser;

use clients::{Transport, Upstream, fill_cache, wait_for_nothing};
use figures::table;
use servers::{Kind, Server};

/// Measure what memory is spent on.
#[derive(Debug, Parser)]
struct Args {
    /// Servers; all that are installed where none is named
    #[arg(long, value_delimiter = ',', ignore_case = true)]
    server: Vec<Kind>,
    /// Connections of each kind, and queries that wait
    #[arg(long, default_value_t = 1000)]
    connections: usize,
    /// Records
    #[arg(long, default_value_t = 1_000_000)]
    records: u32,
    /// Cached answers
    #[arg(long, default_value_t = 100_000)]
    cached: usize,
    /// Seconds that a server has to give memory back after connections ended
    #[arg(long, default_value_t = 12)]
    settle: u64,
    /// What cargo passes
    #[arg(long, hide = true)]
    bench: bool,
}

type Measured = Result<String, Box<dyn std::error::Error>>;

fn main() {
    let args = Args::parse();
    let _ = rustix::process::setrlimit(
        rustix::process::Resource::Nofile,
        rustix::process::Rlimit { current: Some(16_384), maximum: Some(16_384) },
    );
    let wanted = if args.server.is_empty() { Kind::ALL.to_vec() } else { args.server.clone() };
    let kinds: Vec<Kind> = wanted.into_iter().filter(|kind| kind.is_installed()).collect();
    let upstream = match Upstream::start() {
        Ok(upstream) => upstream,
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(1);
        }
    };
    let mut rows =
        vec![["memory"].into_iter().chain(kinds.iter().map(|kind| kind.name())).map(str::to_owned).collect()];
    let mut row = |name: &str, can: &dyn Fn(Kind) -> bool, measure: &dyn Fn(Kind) -> Measured| {
        eprintln!("{name}");
        let figures = kinds.iter().map(|&kind| {
            if !can(kind) {
                return String::new();
            }
            measure(kind).unwrap_or_else(|error| {
                eprintln!("  {}: {error}", kind.name());
                "-".to_owned()
            })
        });
        rows.push([name.to_owned()].into_iter().chain(figures).collect::<Vec<_>>());
    };
    let start = |kind: Kind, records| kind.start(upstream.port, records);
    row("idle, with encrypted listeners, MiB", &Kind::forwards, &|kind| {
        Ok(format!("{:.1}", memory(&start(kind, 1)?) as f64 / 1024.0))
    });
    for transport in Transport::ALL {
        let name = format!("a connection by {} that is idle, and that ended, KiB", transport.name());
        row(&name, &Kind::forwards, &|kind| connections(&args, transport, &start(kind, 1)?));
    }
    row("a query that waits for an upstream, KiB", &Kind::forwards, &|kind| {
        let server = start(kind, 1)?;
        let before = memory(&server);
        let _socket = wait_for_nothing(&server, args.connections)?;
        std::thread::sleep(Duration::from_millis(300));
        Ok(each(before, memory(&server), args.connections))
    });
    row("a record, bytes", &Kind::has_records, &|kind| {
        let few = memory(&start(kind, 1)?);
        let many = memory(&start(kind, args.records)?);
        Ok(format!("{:.0}", (many as f64 - few as f64) * 1024.0 / f64::from(args.records)))
    });
    row("a cached answer, bytes", &Kind::forwards, &|kind| {
        let server = start(kind, 1)?;
        let before = memory(&server);
        let cached = fill_cache(&server, args.cached)?;
        Ok(format!("{:.0}", (memory(&server) as f64 - before as f64) * 1024.0 / cached.max(1) as f64))
    });
    println!("{}", table(&rows));
}

/// What connections take that are idle, and what of it stays.
fn connections(args: &Args, transport: Transport, server: &Server) -> Measured {
    // What the first of its kind takes is not what each takes.
    drop(transport.open(server, 4)?);
    std::thread::sleep(Duration::from_millis(300));
    let before = memory(server);
    let open = transport.open(server, args.connections)?;
    std::thread::sleep(Duration::from_millis(300));
    let with = memory(server);
    let closed = open.iter().filter(|connection| !connection.is_open()).count();
    if closed > 0 {
        return Err(format!("{closed} connections were closed").into());
    }
    drop(open);
    std::thread::sleep(Duration::from_secs(args.settle));
    Ok(format!("{}, {}", each(before, with, args.connections), each(before, memory(server), args.connections)))
}

/// KiB.
fn memory(server: &Server) -> u64 {
    usage::memory(&usage::family(server.running.pid()))
}

/// KiB of each.
fn each(before: u64, after: u64, count: usize) -> String {
    format!("{:.1}", (after as f64 - before as f64) / count.max(1) as f64)
}
