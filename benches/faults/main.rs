//! What faults cost: one row a fault and server, the same load for all, each in network namespaces of its own.
//!
//! `cargo bench --bench faults -- --help`. What the figures mean is in benches/README.md.

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "a measurement owns a clock and sockets")]

mod act;
mod admin;
mod datagrams;
#[expect(dead_code, reason = "shared with other benchmarks")]
#[path = "../support/dns.rs"]
mod dns;
#[path = "../support/dnsmasq.rs"]
mod dnsmasq;
mod experience;
mod fault;
#[path = "../support/figures.rs"]
mod figures;
mod forge;
mod group;
mod load;
mod place;
#[expect(dead_code, reason = "of what the benchmarks share, this one needs free ports and programs")]
#[path = "../support/process.rs"]
mod process;
mod readers;
mod report;
mod row;
mod running;
#[path = "../support/scratch.rs"]
mod scratch;
mod servers;
mod streams;
mod table;
mod tls;
mod upstream;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clap::Parser;

use fault::Fault;
use place::Place;
use report::{Figures, Row};
use servers::Server;
use upstream::lock;

/// Measure what faults cost.
#[derive(Debug, Parser)]
struct Args {
    /// Faults to run, by their ids or what these begin with; all where none is named
    #[arg(long, value_delimiter = ',')]
    fault: Vec<String>,
    /// Servers to run; all that are installed where none is named
    #[arg(long, value_delimiter = ',', ignore_case = true)]
    server: Vec<Server>,
    /// Show the faults and their ids
    #[arg(long)]
    list: bool,
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
    /// Run on loopback, without namespaces
    #[arg(long)]
    loopback: bool,
    /// Write the figures here too, as a list of objects
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure one row in this process and print its figures
    #[arg(long, hide = true)]
    row: bool,
    /// What cargo passes
    #[arg(long, hide = true)]
    bench: bool,
}

impl Args {
    fn length(&self, fault: &Fault) -> Duration {
        Duration::from_secs(if fault.time.thirds().is_some() { self.timed } else { self.seconds })
    }
}

fn main() {
    let args = Args::parse();
    let faults = match table::chosen(&args.fault) {
        Ok(faults) => faults,
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(2);
        }
    };
    if args.list {
        for fault in faults {
            println!("{:<18} {}", fault.id, fault.name);
        }
    } else if args.row {
        for (fault, server) in faults.into_iter().zip(&args.server) {
            match measure(&args, fault, *server) {
                Ok(figures) => println!("{}", serde_json::json!(figures)),
                Err(error) => println!("{error}"),
            }
        }
    } else {
        measure_all(&args, &faults);
    }
}

fn measure(args: &Args, fault: &Fault, server: Server) -> Result<Figures, String> {
    let place = if args.loopback { Place::Loopback } else { Place::network()? };
    let options = row::Options { length: args.length(fault), rate: args.rate, seed: args.seed };
    row::measure(fault, server, &place, &options)
}

fn measure_all(args: &Args, faults: &[&'static Fault]) {
    let namespace = if args.loopback { Err("so it was asked".to_owned()) } else { place::namespace() };
    if let Err(reason) = &namespace {
        eprintln!("no network namespaces ({reason}): on loopback, without the rows that need them");
    }
    let servers = if args.server.is_empty() { Server::ALL.to_vec() } else { args.server.clone() };
    for server in servers.iter().filter(|server| server.program().is_none()) {
        eprintln!("{}: not installed", server.name());
    }
    let servers: Vec<Server> = servers.into_iter().filter(|server| server.program().is_some()).collect();
    let tasks: Vec<(&'static Fault, Server)> =
        faults.iter().flat_map(|fault| servers.iter().map(|server| (*fault, *server))).collect();
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..args.jobs.max(1) {
            scope.spawn(|| {
                while let Some((number, &(fault, server))) = {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    tasks.get(number).map(|task| (number, task))
                } {
                    let result = match fault.left_out(server) {
                        Some(reason) => Err(reason.to_owned()),
                        None => apart(args, fault, server, namespace.as_deref().ok()),
                    };
                    if let Err(error) = &result {
                        eprintln!("{} {}: {error}", fault.id, server.name());
                    }
                    lock(&done).push((number, Row { fault, server, result }));
                }
            });
        }
    });
    let mut rows = std::mem::take(&mut *lock(&done));
    rows.sort_unstable_by_key(|(number, _)| *number);
    let rows: Vec<Row> = rows.into_iter().map(|(_, row)| row).collect();
    println!("{}", figures::table(&report::shown(&rows)));
    if let Some(path) = &args.json {
        let list: Vec<&Figures> = rows.iter().filter_map(|row| row.result.as_ref().ok()).collect();
        if let Err(error) = std::fs::write(path, format!("{:#}\n", serde_json::json!(list))) {
            eprintln!("{}: {error}", path.display());
        }
    }
}

/// Measures a row in a process of its own, within the namespace that this command gives it, or on loopback.
fn apart(args: &Args, fault: &Fault, server: Server, namespace: Option<&[String]>) -> Result<Figures, String> {
    if namespace.is_none() && fault.needs_network() {
        return Err("needs network namespaces".to_owned());
    }
    eprintln!("{} {}: about {} s", fault.id, server.name(), args.length(fault).as_secs() + 4);
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = match namespace {
        Some([program, arguments @ ..]) => {
            let mut command = Command::new(program);
            command.args(arguments).arg(own);
            command
        }
        _ => {
            let mut command = Command::new(own);
            command.arg("--loopback");
            command
        }
    };
    command.args(["--row", "--fault", fault.id, "--server", server.name()]);
    for (option, value) in
        [("--seconds", args.seconds), ("--timed", args.timed), ("--rate", args.rate.into()), ("--seed", args.seed)]
    {
        command.arg(option).arg(value.to_string());
    }
    let output = command.stderr(Stdio::inherit()).output().map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stdout);
    let last = said.lines().last().unwrap_or("its process ended without a word");
    serde_json::from_str(last).map_err(|_| last.to_owned())
}
