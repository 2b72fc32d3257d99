//! Instructions of a query's way, counted by callgrind, and its allocations: what a change costs, without the noise of a
//! clock.
//!
//! `cargo bench --bench instructions` holds each way against `benches/results/instructions.txt` and fails when one has
//! become dearer than that by more than the tolerance; `-- --write` makes today's figures the ones to hold against.
//! Needs valgrind. Times are benches/core.rs's and benches/throughput's business.

#![expect(clippy::disallowed_methods, reason = "a measurement owns a clock")]

#[path = "support/allocations.rs"]
mod allocations;
#[expect(dead_code, reason = "other benchmarks use more of it")]
#[path = "support/dns.rs"]
mod dns;
#[path = "support/scratch.rs"]
mod scratch;

use std::fmt::Write;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use privatelink_dns::cache::Cache;
use privatelink_dns::engine::{Action, Ask, Batch, Client, Engine, GROUP, Snapshot, UpstreamResult};
use privatelink_dns::forward::{Answered, Arrival, ClientQuery, Forwarding, LoopGuard, Outbox, UpstreamSets};
use privatelink_dns::reload::load;
use privatelink_dns::wire::{NameBuf, Transport, UpstreamMessage};
use smallvec::SmallVec;

use scratch::Scratch;

/// How much dearer a way may be than it was: seeds of hashes differ from run to run, and libc from machine to machine.
const TOLERANCE: f64 = 0.15;
/// Names of each kind.
const NAMES: u32 = 1000;
/// Queries of the two runs whose difference is counted: start and end of the program cancel out.
const RUNS: [u32; 2] = [1000, 11_000];
/// The type AAAA.
const AAAA: u16 = 28;
/// Who asks.
const CLIENT: Client = Client { address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), transport: Transport::Udp };
/// The zone of the records.
const ZONE: &str = "workspace.eastus.api.azureml.ms";

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;

#[derive(Debug, Parser)]
struct Args {
    /// Make today's figures the ones to hold against
    #[arg(long)]
    write: bool,
    /// What a child process of the benchmark does, and how often
    #[arg(long, hide = true, requires = "times")]
    way: Option<String>,
    #[arg(long, hide = true)]
    times: Option<u32>,
    /// What cargo passes
    #[arg(long, hide = true)]
    bench: bool,
}

/// A way that a query may take.
struct Way {
    name: &'static str,
    /// The query's name.
    asked: fn(u32) -> String,
    qtype: u16,
}

/// The way of a query that an upstream is asked for, all but the system's part of it.
const FORWARDED: &str = "forwarded";

const WAYS: [Way; 6] = [
    Way { name: "record", asked: |n| format!("r{n}.{ZONE}"), qtype: dns::A },
    Way { name: "no data", asked: |n| format!("r{n}.{ZONE}"), qtype: AAAA },
    Way { name: "no such name", asked: |n| format!("x{n}.{ZONE}"), qtype: dns::A },
    Way { name: "wildcard", asked: |n| format!("e{n}.eastus.inference.ml.azure.com"), qtype: dns::A },
    Way { name: "cached", asked: |n| format!("a{n}.blob.core.windows.net"), qtype: dns::A },
    Way { name: FORWARDED, asked: |n| format!("f{n}.blob.core.windows.net"), qtype: dns::A },
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    if let (Some(way), Some(times)) = (&args.way, args.times) {
        let way = WAYS.iter().find(|known| known.name == way).ok_or("no such way")?;
        way.run(times);
        return Ok(());
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        eprintln!("valgrind is not installed: nothing is counted");
        return Ok(());
    }
    let counted: Vec<_> = WAYS.iter().map(|way| Ok((way.name, count(way)?))).collect::<Result<_, std::io::Error>>()?;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/results/instructions.txt");
    if args.write {
        let mut text = String::new();
        for (name, count) in &counted {
            writeln!(text, "{name}: {count}")?;
        }
        std::fs::write(&file, text)?;
    }
    let known = std::fs::read_to_string(&file)?;
    let mut dearer = false;
    println!("{:<14} {:>12} {:>12} {:>8} {:>12}", "way", "instructions", "before", "change", "allocations");
    for (way, (name, count)) in WAYS.iter().zip(counted) {
        let before = known.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")?.parse::<u64>().ok());
        let before = before.ok_or_else(|| format!("{}: nothing about \"{name}\"", file.display()))?;
        let change = count as f64 / before as f64 - 1.0;
        dearer |= change > TOLERANCE;
        let allocations = way.allocations();
        println!("{name:<14} {count:>12} {before:>12} {:>7.1}% {allocations:>12.2}", change * 100.0);
    }
    if dearer { Err("a way has become dearer".into()) } else { Ok(()) }
}

impl Way {
    fn run(&self, times: u32) {
        if self.name == FORWARDED { forward(self, times) } else { take(self, times) }
    }

    /// Allocations of one query.
    fn allocations(&self) -> f64 {
        let [few, many] = RUNS.map(|times| {
            let before = allocations::count();
            self.run(times);
            allocations::count() - before
        });
        many.saturating_sub(few) as f64 / f64::from(RUNS[1] - RUNS[0])
    }
}

/// Instructions of one query.
fn count(way: &Way) -> Result<u64, std::io::Error> {
    let [few, many] = RUNS.map(|times| count_all(way, times));
    let (few, many) = (few?, many?);
    Ok(many.saturating_sub(few) / u64::from(RUNS[1] - RUNS[0]))
}

/// Instructions of a whole run.
fn count_all(way: &Way, times: u32) -> Result<u64, std::io::Error> {
    let scratch = Scratch::new("instructions");
    let out: PathBuf = scratch.path().join("callgrind");
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "-q"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(std::env::current_exe()?)
        .args(["--way", way.name, "--times", &times.to_string()])
        .output()?;
    let text = std::fs::read_to_string(&out).unwrap_or_default();
    let total = text.lines().find_map(|line| line.strip_prefix("totals: ").or_else(|| line.strip_prefix("summary: ")));
    total.and_then(|total| total.trim().parse().ok()).ok_or_else(|| {
        std::io::Error::other(format!("valgrind counted nothing: {}", String::from_utf8_lossy(&run.stderr)))
    })
}

/// Answers so many queries from the table and the cache, in batches, as datagrams are.
fn take(way: &Way, times: u32) {
    let (client, snapshot) = (CLIENT, snapshot());
    let engine = Engine::new(Arc::new(Cache::new(64 << 20)), LoopGuard::default());
    let (now, mut reply) = (Instant::now(), Vec::with_capacity(1232));
    let queries: Vec<_> = (0..NAMES).map(|n| dns::query(n as u16, &(way.asked)(n), way.qtype)).collect();
    for (n, query) in queries.iter().enumerate() {
        if let Action::Forward(forward) = engine.answer(&snapshot, query, client, now, 0, &mut reply) {
            let mut answer = UpstreamMessage::read(upstream_answer(n, query));
            engine.keep(&snapshot, &forward.question, &mut answer, now, |_| ()).expect("an answer that can be read");
        }
    }
    let mut replies = [const { Vec::new() }; GROUP];
    let mut name_bufs = [const { NameBuf::new() }; GROUP];
    let mut left = (0..times).zip(queries.iter().cycle()).peekable();
    while let Some(&(turn, _)) = left.peek() {
        let asked = left.by_ref().map(|(_, query)| &**query);
        let asks = replies.iter_mut().zip(asked).map(|(reply, query)| Ask::new(black_box(query), client, 4000, reply));
        let mut asks: SmallVec<[Ask<'_>; GROUP]> = asks.collect();
        engine.answer_batch(Batch { snapshot: &snapshot, now, turn }, &mut asks, &mut name_bufs, &(), |_| ());
        assert!(asks.iter().all(|ask| matches!(ask.action, Action::Answered(_))), "every way ends in an answer");
    }
}

/// Has so many queries answered by an upstream that is there at once.
fn forward(way: &Way, times: u32) {
    let snapshot = snapshot();
    let engine = Engine::new(Arc::new(Cache::new(64 << 20)), LoopGuard::default());
    let mut forwarding = Forwarding::new([7; 32], LoopGuard::default());
    let (now, mut reply, mut out) = (Instant::now(), Vec::with_capacity(1232), Outbox::default());
    let [_, most] = RUNS;
    let queries: Vec<_> = (0..most).map(|n| dns::query(n as u16, &(way.asked)(n), way.qtype)).collect();
    let answers: Vec<_> = queries.iter().enumerate().map(|(n, query)| upstream_answer(n, query)).collect();
    let mut spare = Box::new(UpstreamMessage::read(Vec::new()));
    for (turn, (query, mut answer)) in (0..times).zip(queries.iter().zip(answers)) {
        let Action::Forward(asked) = engine.answer(&snapshot, query, CLIENT, now, turn, &mut reply) else {
            panic!("nobody knows the answer yet");
        };
        let deadline = now + Duration::from_secs(4);
        let client_query =
            ClientQuery { waiter: turn, client: CLIENT.address, deadline, stale: None, is_datagram: true, beside: 0 };
        forwarding.ask(now, asked.question, client_query, &mut out);
        let sent = out.transmits.pop().expect("a query for the upstream");
        answer[..2].copy_from_slice(&sent.message[..2]);
        // As workers do: what is done with is used again.
        spare.read_again(&answer);
        forwarding.on_response(now, sent.id, Arrival::Message(spare), &mut out);
        let resolved = out.resolved.pop().expect("its answer");
        let Answered { question, mut message } = resolved.outcome.expect("a good one");
        let answer = engine.keep(&snapshot, &question, &mut message, now, |_| ()).expect("it can be read");
        let settlement = UpstreamResult::Answer(&answer);
        let action = engine.resolve(&snapshot, query, CLIENT, None, settlement, now, turn, &mut reply);
        assert!(matches!(action, Action::Answered(_)), "it is the reply");
        spare = message;
    }
}

fn upstream_answer(number: usize, query: &[u8]) -> Vec<u8> {
    let asked = dns::Asked::parse(query).expect("a query that can be read");
    let target = format!("a{number}.privatelink.blob.core.windows.net");
    asked.reply(query, &[(target, 60)], Some((Ipv4Addr::new(10, 1, 0, 9), 3600)))
}

fn snapshot() -> Snapshot {
    let mut records = String::new();
    for n in 0..NAMES {
        let _ = write!(
            records,
            "[[record]]\nname = \"r{n}.{ZONE}\"\ntype = \"A\"\ndata = \"10.1.{}.{}\"\n",
            n >> 8,
            n & 255
        );
    }
    records += "[[record]]\nname = \"*.eastus.inference.ml.azure.com\"\ntype = \"A\"\ndata = \"10.1.0.7\"\n";
    let scratch = Scratch::new("instructions-records");
    scratch.write("bench-records.toml", &records);
    let zone = format!("[[zone]]\nname = \"{ZONE}\"\nmissing = \"nxdomain\"\n");
    scratch.write("pldns.toml", &format!("[records]\nfiles = [\"bench-records.toml\"]\n{zone}"));
    let loaded = load(&scratch.path().join("pldns.toml"));
    assert!(!loaded.problems.has_errors(), "{}", loaded.problems);
    loaded.into_snapshot(&mut UpstreamSets::default(), 0)
}
