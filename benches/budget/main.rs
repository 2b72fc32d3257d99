//! How servers fare against Azure DNS's limits: five scenarios, one simulated Azure DNS, clients as patient as glibc.
//!
//! `cargo bench --bench budget -- --help`. What the figures mean stands in benches/README.md.

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "a measurement owns a clock and sockets")]

mod azure;
mod clients;
#[path = "../support/dns.rs"]
mod dns;
#[path = "../support/figures.rs"]
mod figures;
mod names;
#[path = "../support/process.rs"]
mod process;
mod report;
mod scenario;
#[path = "../support/scratch.rs"]
mod scratch;
mod self_test;
mod servers;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;

use azure::Azure;
use clients::Clients;
use names::{BenchName, Kind};
use process::{Running, free_port};
use report::Run;
use scenario::Scenario;
use scratch::Scratch;
use servers::Server;

/// Lookups at once while caches are warmed.
const WARMING: usize = 400;

/// Measure servers against Azure DNS's limits.
#[derive(Debug, Parser)]
struct Args {
    /// Scenarios to run; all where none is named
    #[arg(long, value_delimiter = ',', ignore_case = true)]
    scenario: Vec<Scenario>,
    /// Servers to run; all that are installed where none is named
    #[arg(long, value_delimiter = ',', ignore_case = true)]
    server: Vec<Server>,
    /// Length of each run instead of the scenario's own (30, 20, 30, 10 and 40 s)
    #[arg(long)]
    seconds: Option<u64>,
    /// Clients' hosts in S1, S2, S3 and S5
    #[arg(long, default_value_t = 100)]
    hosts: usize,
    /// Write the figures here too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Check the simulator itself, and nothing else
    #[arg(long)]
    self_test: bool,
    /// What cargo passes
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let args = Args::parse();
    if args.self_test {
        return self_test::run();
    }
    let scenarios = if args.scenario.is_empty() { Scenario::ALL.to_vec() } else { args.scenario.clone() };
    let servers = if args.server.is_empty() { Server::ALL.to_vec() } else { args.server.clone() };
    let mut runs = Vec::new();
    for &scenario in &scenarios {
        for &server in &servers {
            if server.program().is_none() {
                eprintln!("{}: not installed", server.name());
                continue;
            }
            match run(scenario, server, &args) {
                Ok(run) => runs.push(run),
                Err(error) => eprintln!("{} {}: {error}", scenario.name(), server.name()),
            }
        }
        println!("{}", report::show(scenario, &runs));
    }
    if let Some(path) = args.json {
        let text = format!("{:#}\n", report::to_json(&runs));
        if let Err(error) = std::fs::write(&path, text) {
            eprintln!("{}: {error}", path.display());
        }
    }
}

/// One server in one scenario, both started anew.
fn run(scenario: Scenario, server: Server, args: &Args) -> Result<Run, String> {
    let mut plan = scenario.plan(args.seconds, args.hosts);
    eprintln!("{} {}: about {} s", scenario.name(), server.name(), report::about(&plan).as_secs());
    let said = |error: std::io::Error| error.to_string();
    let scratch = Scratch::new("budget");
    let azure = Azure::start().map_err(said)?;
    let port = free_port();
    let command = server.command(&scratch, port, azure.address).ok_or("not installed")?;
    let log = scratch.path().join("log");
    let running = Running::start(command, port, "probe.contoso.example", &log)?;
    eprintln!("  process {}, first answer after {} ms", running.pid(), running.started_in.as_millis());
    let seed = azure::seed(scenario.name());
    let mut clients = Clients::new(plan.hosts, plan.sockets_per_host, running.address, seed).map_err(said)?;
    let known: Vec<BenchName> = plan.warm.clone().map(|number| BenchName { kind: Kind::Known, number }).collect();
    let unanswered = clients.warm(&known, WARMING, Duration::from_secs(90));
    if unanswered > 0 {
        eprintln!("  {unanswered} of {} names stayed unanswered while warming", known.len());
    }
    std::thread::sleep(Duration::from_millis(200));
    let begin = Instant::now();
    azure.limit();
    azure.reset(begin);
    let outage = plan.outage.clone();
    let experience = clients.run(begin, &mut plan.streams, plan.length, |since| {
        azure.set_dead(outage.as_ref().is_some_and(|outage| outage.contains(&since)));
    });
    let figures = report::figures(scenario, &plan, &experience, &azure.read());
    Ok(Run { scenario, server: server.name(), figures })
}
