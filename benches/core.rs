//! Single steps of a query's way, with nothing else running: parsing, the table, the engine, the cache, compiling.
//!
//! `cargo bench --bench core`, or `cargo bench --bench core -- lookup` for some of them.

#![expect(clippy::disallowed_methods, reason = "a measurement owns a clock")]

#[path = "core/contention.rs"]
mod contention;
#[path = "support/dns.rs"]
mod dns;
#[path = "support/scratch.rs"]
mod scratch;

use std::fmt::Write;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use privatelink_dns::cache::{Age, Answer, Cache, TtlLimits};
use privatelink_dns::document::{Problems, SourceText};
use privatelink_dns::engine::{Action, Client, Engine, Snapshot};
use privatelink_dns::forward::{LoopGuard, UpstreamSets};
use privatelink_dns::records::{TableSettings, compile, read_records};
use privatelink_dns::reload::load;
use privatelink_dns::wire::{Name, NameBuf, Query, Rtype, Transport, UpstreamMessage};

use scratch::Scratch;

/// Records in the table.
const RECORDS: u32 = 100_000;
const CLIENT: Client = Client { address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), transport: Transport::Udp };
/// A name in the table.
const RECORD: &str = "r4711.workspace.eastus.api.azureml.ms";
/// A name that a wildcard stands for.
const WILDCARD: &str = "endpoint.eastus.inference.ml.azure.com";
/// A name that is forwarded and cached.
const FORWARDED: &str = "account.blob.core.windows.net";

fn records_file() -> String {
    let mut text = String::new();
    for number in 0..RECORDS {
        let address = dns::address_of(&format!("r{number}"));
        let _ = writeln!(
            text,
            "[[record]]\nname = \"r{number}.workspace.eastus.api.azureml.ms\"\ntype = \"A\"\ndata = \"{address}\""
        );
    }
    text + "[[record]]\nname = \"*.eastus.inference.ml.azure.com\"\ntype = \"A\"\ndata = \"10.1.0.7\"\n"
}

/// The state that a server with these records has.
fn snapshot() -> Snapshot {
    let scratch = Scratch::new("core");
    scratch.write("bench-records.toml", &records_file());
    scratch.write("pldns.toml", "[records]\nfiles = [\"bench-records.toml\"]\n");
    let loaded = load(&scratch.path().join("pldns.toml"));
    assert!(!loaded.problems.has_errors(), "{}", loaded.problems);
    loaded.into_snapshot(&mut UpstreamSets::default(), 0)
}

/// An upstream's answer: an alias into a private zone, and its address.
fn upstream_answer() -> Vec<u8> {
    let query = dns::query(7, FORWARDED, dns::A);
    let asked = dns::Asked::parse(&query).expect("a query that can be read");
    assert_eq!((&*asked.name, asked.qtype), (FORWARDED, dns::A));
    let target = "account.privatelink.blob.core.windows.net".to_owned();
    asked.reply(&query, &[(target, 60)], Some((Ipv4Addr::new(10, 1, 0, 9), 3600)))
}

fn parse(criterion: &mut Criterion) {
    let bytes = dns::query(7, RECORD, dns::A);
    let mut name_buf = NameBuf::new();
    criterion.bench_function("query parse", |bencher| {
        bencher.iter(|| Query::parse(black_box(&bytes), &mut name_buf).is_ok());
    });
    let limits = TtlLimits { max: 3600, max_negative: 60, max_negative_private: 10 };
    let (answer, now) = (upstream_answer(), Instant::now());
    criterion.bench_function("answer from message", |bencher| {
        bencher.iter(|| {
            let mut message = UpstreamMessage::read(black_box(answer.clone()));
            Answer::from_message(b"key", &mut message, &limits, now).is_some()
        });
    });
}

fn lookup(criterion: &mut Criterion) {
    let table = snapshot().table;
    let cases = [("hit", RECORD), ("miss", "no.such.record.eastus.api.azureml.ms"), ("wildcard", WILDCARD)];
    for (case, name) in cases {
        let name = Name::parse(name).expect("a name");
        criterion.bench_function(&format!("table lookup {case}"), |bencher| {
            bencher.iter(|| black_box(table.lookup(black_box(name.as_wire()), Rtype::A, CLIENT.address)));
        });
    }
}

fn answer(criterion: &mut Criterion) {
    let snapshot = snapshot();
    let engine = Engine::new(Arc::new(Cache::new(64 << 20)), LoopGuard::default());
    let (now, mut reply) = (Instant::now(), Vec::with_capacity(1232));
    let asked = dns::query(7, FORWARDED, dns::A);
    let Action::Forward(forward) = engine.answer(&snapshot, &asked, CLIENT, now, 0, &mut reply) else {
        panic!("the cache is empty: {FORWARDED} goes upstream");
    };
    let kept = engine.keep(&snapshot, &forward.question, &mut UpstreamMessage::read(upstream_answer()), now, |_| ());
    assert!(kept.is_some(), "the upstream's answer can be read");
    for (case, name) in [("table hit", RECORD), ("wildcard", WILDCARD), ("cache hit", FORWARDED)] {
        let query = dns::query(7, name, dns::A);
        engine.answer(&snapshot, &query, CLIENT, now, 0, &mut reply);
        let seen = dns::Seen::parse(&reply).expect("a reply");
        assert!(seen.rcode == 0 && seen.address.is_some(), "{seen:?}");
        let mut turn = 0;
        criterion.bench_function(&format!("engine answer {case}"), |bencher| {
            bencher.iter(|| {
                turn += 1;
                let action = engine.answer(&snapshot, black_box(&query), CLIENT, now, turn, &mut reply);
                assert!(matches!(action, Action::Answered(_)));
            });
        });
    }
}

/// The same answer asked for by another core all the time: what sharing costs.
fn shared(criterion: &mut Criterion) {
    let snapshot = snapshot();
    let engine = Engine::new(Arc::new(Cache::new(64 << 20)), LoopGuard::default());
    let (now, mut reply) = (Instant::now(), Vec::with_capacity(1232));
    let query = dns::query(7, FORWARDED, dns::A);
    if let Action::Forward(forward) = engine.answer(&snapshot, &query, CLIENT, now, 0, &mut reply) {
        engine.keep(&snapshot, &forward.question, &mut UpstreamMessage::read(upstream_answer()), now, |_| ());
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut reply = Vec::with_capacity(1232);
            while !stop.load(Ordering::Relaxed) {
                engine.answer(&snapshot, &query, CLIENT, now, 0, &mut reply);
            }
        });
        criterion.bench_function("engine answer cache hit, another core asks the same", |bencher| {
            bencher.iter(|| {
                let action = engine.answer(&snapshot, black_box(&query), CLIENT, now, 0, &mut reply);
                assert!(matches!(action, Action::Answered(_)));
            });
        });
        stop.store(true, Ordering::Relaxed);
    });
}

fn compiling(criterion: &mut Criterion) {
    let source = SourceText::new("records.toml", records_file());
    let mut problems = Problems::default();
    let packs = read_records(&source, 0, &mut problems);
    let sources = vec![source];
    let mut group = criterion.benchmark_group("100,000 records");
    group.sample_size(10);
    group.bench_function("read", |bencher| {
        bencher.iter(|| read_records(&sources[0], 0, &mut Problems::default()).len());
    });
    group.bench_function("compile", |bencher| {
        bencher.iter(|| {
            compile(&packs, &[], TableSettings { ttl: 10 }, sources.clone(), &mut Problems::default()).stats()
        });
    });
    group.finish();
}

/// Files of about 10 MB in shapes where a record could be compared with all others: linear, or seconds are lost.
fn crowded(criterion: &mut Criterion) {
    let record = |name: &str, rtype: &str, data: &str| {
        format!("[[record]]\nname = \"{name}\"\ntype = \"{rtype}\"\ndata = {data}\n")
    };
    let types = (1000..61_000).map(|number| record("a.example", &format!("TYPE{number}"), "\"\\\\# 1 00\"")).collect();
    let list = |turn: u32| {
        let addresses = (0..4000_u32).map(|number| Ipv4Addr::from(0x0a00_0000 + (number + turn * 7) % 4000));
        addresses.map(|address| format!("\"{address}\",")).collect::<String>()
    };
    let lists = (0..200).map(|turn| record("a.example", "A", &format!("[{}]", list(turn)))).collect();
    let headers = "[[record]]\n".repeat(1_000_000);
    let mut group = criterion.benchmark_group("crowded");
    group.sample_size(10);
    let shapes: [(&str, String); 3] = [
        ("60,000 types of a name", types),
        ("200 times the same 4,000 addresses", lists),
        ("a million headers", headers),
    ];
    for (shape, text) in shapes {
        let source = SourceText::new("records.toml", text);
        group.bench_function(shape, |bencher| {
            bencher.iter(|| {
                let mut problems = Problems::default();
                let packs = read_records(&source, 0, &mut problems);
                compile(&packs, &[], TableSettings { ttl: 10 }, vec![source.clone()], &mut problems).stats()
            });
        });
    }
    group.finish();
}

/// A lookup that a partial wildcard answers costs the same however many there are.
fn partial_wildcards(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("table lookup partial wildcard");
    for count in [10, 1000, 100_000] {
        let record =
            |number| format!("[[record]]\nname = \"ci-{number:06}-*.example\"\ntype = \"A\"\ndata = \"10.0.0.1\"\n");
        let text: String = (0..count).map(record).collect();
        let source = SourceText::new("records.toml", text);
        let mut problems = Problems::default();
        let packs = read_records(&source, 0, &mut problems);
        let table = compile(&packs, &[], TableSettings { ttl: 10 }, vec![source], &mut problems);
        assert!(problems.is_empty(), "{problems}");
        let name = Name::parse("ci-000007-8787.example").expect("a name");
        group.bench_function(count.to_string(), |bencher| {
            bencher.iter(|| black_box(table.lookup(black_box(name.as_wire()), Rtype::A, CLIENT.address)));
        });
    }
    group.finish();
}

/// A message with one question, and as many of the given records as 64 KiB hold.
fn filled(start: &[u8], count: u16, record: impl Fn(u16, usize) -> Vec<u8>) -> Vec<u8> {
    let mut bytes = [&[0, 7, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0][..], b"\x01a\x04test\0\0\x01\0\x01", start].concat();
    let mut ancount = u16::from(!start.is_empty());
    for number in 0..count {
        let record = record(number, bytes.len());
        if bytes.len() + record.len() > 65_535 {
            break;
        }
        bytes.extend_from_slice(&record);
        ancount += 1;
    }
    bytes[6..8].copy_from_slice(&ancount.to_be_bytes());
    bytes
}

/// A record with an owner that is a pointer.
fn record_at(owner: usize, rtype: u8, data: &[u8]) -> Vec<u8> {
    let len = u16::try_from(data.len()).expect("data of a record").to_be_bytes();
    [&pointer(owner)[..], &[0, rtype, 0, 1, 0, 0, 0, 60], &len, data].concat()
}

fn pointer(to: usize) -> [u8; 2] {
    (0xc000 | u16::try_from(to.min(0x3fff)).expect("14 bits")).to_be_bytes()
}

/// The longest chain that is followed, and addresses of a name that is not in it: every name differs from the others in its
/// last label alone.
fn alike(labels: usize, len: usize) -> Vec<u8> {
    let name = |number: u16| {
        let label = [&[len as u8][..], &vec![b'x'; len]].concat();
        let mut name = label.repeat(labels);
        name.pop();
        name.push(b'A' + number as u8);
        name.push(0);
        name
    };
    let cell = std::cell::Cell::new(12);
    filled(&[], u16::MAX, |number, at| {
        let owner = pointer(cell.get());
        let fields = |rtype, len: usize| [&[0, rtype, 0, 1, 0, 0, 0, 60][..], &(len as u16).to_be_bytes()].concat();
        match number {
            0..16 => {
                let target = name(number);
                cell.set(at + 12);
                [&owner[..], &fields(5, target.len()), &target].concat()
            }
            16 => {
                cell.set(at);
                [&name(number)[..], &fields(1, 4), &[10, 0, 0, 1]].concat()
            }
            _ => record_at(cell.get(), 1, &[10, 0, 0, 1]),
        }
    })
}

/// Answers of 64 KiB that are built to be expensive: reading one, keeping it and writing a reply from it.
fn hostile(criterion: &mut Criterion) {
    let question_end = 12 + 8 + 4;
    let null = record_at(12, 10, &(0..8000).flat_map(|hop| pointer(question_end + 12 + 2 * hop)).collect::<Vec<_>>());
    let chained = |rtype: u8| {
        filled(&[], u16::MAX, move |number, at| {
            let before = if number == 0 { 12 } else { at - 14 };
            let owner = if number % 120 == 0 { 12 } else { before };
            match rtype {
                1 => record_at(if number % 120 == 0 { 12 } else { at - 16 }, 1, &[10, 0, 0, 1]),
                _ => record_at(owner, rtype, &pointer(owner)),
            }
        })
    };
    let alias = |number: u16| [&[4][..], format!("{number:04x}").as_bytes(), &[0xc0, 14]].concat();
    let messages = [
        ("pointers after a NULL record, A", filled(&null, u16::MAX, |_, _| record_at(16_300, 1, &[1, 2, 3, 4]))),
        ("pointers after a NULL record, CNAME", filled(&null, u16::MAX, |_, _| record_at(16_300, 5, &pointer(16_300)))),
        ("pointers to pointers, A", chained(1)),
        ("pointers to pointers, NS", chained(2)),
        ("pointers to pointers, CNAME", chained(5)),
        ("4,000 A", filled(&[], u16::MAX, |_, _| record_at(12, 1, &[1, 2, 3, 4]))),
        (
            "2,300 CNAME",
            filled(&[], u16::MAX, |number, _| {
                let owner = if number == 0 { vec![0xc0, 12] } else { alias(number) };
                [&owner[..], &[0, 5, 0, 1, 0, 0, 0, 60, 0, 7], &alias(number + 1)].concat()
            }),
        ),
        ("16 CNAME of four labels, 3,700 A of a name like them", alike(4, 62)),
        ("16 CNAME of 126 labels, 3,700 A of a name like them", alike(126, 1)),
    ];
    let limits = TtlLimits { max: 3600, max_negative: 60, max_negative_private: 10 };
    let (now, mut reply) = (Instant::now(), Vec::with_capacity(65_535));
    let mut name_buf = NameBuf::new();
    let query = [
        &[0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1][..],
        b"\x01a\x04test\0\0\x01\0\x01",
        &[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0],
    ]
    .concat();
    let query = Query::parse(&query, &mut name_buf).expect("a query");
    for (name, bytes) in messages {
        criterion.bench_function(&format!("hostile: {name}: read"), |bencher| {
            bencher.iter(|| UpstreamMessage::read(black_box(bytes.clone())).rcode());
        });
        criterion.bench_function(&format!("hostile: {name}: keep"), |bencher| {
            bencher.iter(|| {
                let mut message = UpstreamMessage::accepted_before(black_box(bytes.clone()));
                Answer::from_message(b"key", &mut message, &limits, now).is_some()
            });
        });
        let Some(answer) = Answer::from_message(b"key", &mut UpstreamMessage::read(bytes.clone()), &limits, now) else {
            continue;
        };
        for limit in [1232, 65_535] {
            criterion.bench_function(&format!("hostile: {name}: reply of {limit}"), |bencher| {
                bencher.iter(|| answer.view().write(black_box(&query), Age::Seconds(1), limit, &mut reply));
            });
        }
    }
}

criterion_group!(steps, parse, lookup, partial_wildcards, answer, shared, compiling, crowded, hostile);
criterion_group!(contention, contention::inserting, contention::forwarding, contention::logging);
criterion_main!(steps, contention);
