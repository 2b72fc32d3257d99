//! What a query costs by TLS and by HTTPS, beside other servers: on one connection that goes on, and where each has a connection of
//! its own. What the figures mean is in benches/README.md.
//!
//! `cargo bench --bench encrypted -- --help`. Needs dnsperf and h2load for what goes on one connection.

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "a measurement owns a clock and sockets")]

#[path = "memory/clients.rs"]
#[expect(dead_code, reason = "other benchmarks have queries that wait, and names to be cached")]
mod clients;
#[path = "support/dns.rs"]
#[expect(dead_code, reason = "other benchmarks read replies")]
mod dns;
#[path = "support/figures.rs"]
#[expect(dead_code, reason = "other benchmarks have percentiles")]
mod figures;
#[path = "support/process.rs"]
mod process;
#[path = "support/scratch.rs"]
mod scratch;
#[path = "memory/servers.rs"]
#[expect(dead_code, reason = "other benchmarks have servers without encrypted listeners")]
mod servers;
#[path = "throughput/usage.rs"]
#[expect(dead_code, reason = "other benchmarks measure memory")]
mod usage;

use std::process::{Command, Stdio};

use clap::Parser;
use data_encoding::BASE64URL_NOPAD;

use clients::{Transport, Upstream};
use dns::{A, query};
use figures::table;
use process::find_program;
use servers::{Kind, RECORD, Server};

/// Queries that are outstanding at the same time on one connection.
const WINDOW: &str = "20";

/// Measure what a query costs by TLS and HTTPS
#[derive(Debug, Parser)]
struct Args {
    /// Servers; all that are installed where none is named
    #[arg(long, value_delimiter = ',', ignore_case = true)]
    server: Vec<Kind>,
    /// Rounds; in each, every server has its turn
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of each measurement on one connection
    #[arg(long, default_value_t = 3)]
    seconds: u32,
    /// Connections of each measurement with one each
    #[arg(long, default_value_t = 1000)]
    connections: usize,
    /// What cargo passes
    #[arg(long, hide = true)]
    bench: bool,
}

/// What is measured.
#[derive(Clone, Copy)]
struct Way {
    transport: Transport,
    /// Each query has a connection of its own.
    is_each: bool,
}

const WAYS: [Way; 4] = [
    Way { transport: Transport::Tls, is_each: false },
    Way { transport: Transport::Https, is_each: false },
    Way { transport: Transport::Tls, is_each: true },
    Way { transport: Transport::Https, is_each: true },
];

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

impl Way {
    fn name(self) -> String {
        format!("{}, {}", self.transport.name(), if self.is_each { "a connection each" } else { "one connection" })
    }

    /// Microseconds of the server's CPU time a query.
    fn measure(self, server: &Server, args: &Args) -> Outcome<f64> {
        let family = usage::family(server.running.pid());
        let before = usage::run_time(&family);
        let count = if self.is_each {
            self.transport.open(server, args.connections)?.len()
        } else {
            self.ask(server, args.seconds)?
        };
        let took = usage::run_time(&family).saturating_sub(before);
        Ok(took.as_secs_f64() * 1e6 / count.max(1) as f64)
    }

    /// Has a client ask on one connection for so many seconds; how many queries were answered.
    fn ask(self, server: &Server, seconds: u32) -> Outcome<usize> {
        let client = if self.transport == Transport::Https { "h2load" } else { "dnsperf" };
        let mut command = pinned_to("1", find_program(client).ok_or_else(|| format!("{client} is not installed"))?);
        let (queries, seconds) = (scratch::Scratch::new("encrypted-queries"), seconds.to_string());
        let (before, place) = match self.transport {
            Transport::Https => {
                let message = BASE64URL_NOPAD.encode(&query(0, RECORD, A));
                let url = format!("https://127.0.0.1:{}/dns-query?dns={message}", server.https);
                command.args(["-D", &seconds, "-c", "1", "-m", WINDOW, &url]);
                // "requests: 9 total, 9 started, 9 done, 9 succeeded, ..."
                ("requests:", 3)
            }
            _ => {
                let file = queries.write("queries", &format!("{RECORD} A\n"));
                command.args(["-s", "127.0.0.1", "-p", &server.tls.to_string(), "-m", "dot", "-d", &file]);
                command.args(["-c", "1", "-q", WINDOW, "-l", &seconds]);
                // "Queries completed:    9 (100.00%)"
                ("Queries completed:", 0)
            }
        };
        let output = command.stderr(Stdio::null()).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let counts = text.lines().find_map(|line| line.trim().strip_prefix(before)).unwrap_or_default();
        let count = counts.split(',').nth(place).and_then(|count| count.split_whitespace().next()?.parse().ok());
        count.filter(|&count| count > 0).ok_or_else(|| format!("{client} had no answer").into())
    }
}

/// A command on this CPU, where taskset is installed.
fn pinned_to(cpu: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let Some(taskset) = find_program("taskset") else { return Command::new(program) };
    let mut command = Command::new(taskset);
    command.args(["-c", cpu]).arg(program);
    command
}

/// Has a process with all its threads stay on this CPU, where taskset is installed.
fn pin(cpu: &str, pid: u32) -> Outcome<()> {
    if let Some(taskset) = find_program("taskset") {
        Command::new(taskset).args(["-a", "-c", "-p", cpu, &pid.to_string()]).stdout(Stdio::null()).status()?;
    }
    Ok(())
}

fn main() -> Outcome<()> {
    let args = Args::parse();
    let wanted = if args.server.is_empty() { Kind::ALL.to_vec() } else { args.server.clone() };
    let kinds: Vec<Kind> = wanted.into_iter().filter(|kind| kind.is_installed() && kind.forwards()).collect();
    let upstream = Upstream::start()?;
    pin("1", std::process::id())?;
    let mut costs = vec![vec![Vec::new(); kinds.len()]; WAYS.len()];
    for round in 1..=args.rounds {
        eprintln!("round {round} of {}", args.rounds);
        for (&kind, place) in kinds.iter().zip(0..) {
            // A server inherits its CPU from the process that starts it, so that all its threads are there.
            pin("0", std::process::id())?;
            let server = kind.start(upstream.port, 1);
            pin("1", std::process::id())?;
            let server = server?;
            for (way, costs) in WAYS.iter().zip(&mut costs) {
                match way.measure(&server, &args) {
                    Ok(cost) => costs[place].push(cost),
                    Err(error) => eprintln!("  {}, {}: {error}", kind.name(), way.name()),
                }
            }
        }
    }
    let head = ["CPU us a query: median (least, most)"].into_iter().chain(kinds.iter().map(|kind| kind.name()));
    let mut rows = vec![head.map(str::to_owned).collect::<Vec<_>>()];
    for (way, costs) in WAYS.iter().zip(&mut costs) {
        let cells = costs.iter_mut().map(|costs| {
            costs.sort_unstable_by(f64::total_cmp);
            match (costs.first(), costs.get(costs.len() / 2), costs.last()) {
                (Some(least), Some(median), Some(most)) => format!("{median:.1} ({least:.1}, {most:.1})"),
                _ => String::new(),
            }
        });
        rows.push(std::iter::once(way.name()).chain(cells).collect());
    }
    println!("{}", table(&rows));
    Ok(())
}
