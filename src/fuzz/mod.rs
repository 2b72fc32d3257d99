//! Entry points for fuzzers: each takes any bytes and panics where a promise is broken. Not part of the interface.
//!
//! Messages are read here, what comes from files in `files`. A target is a row of [`TARGETS`] and a folder of seeds, `fuzz/corpus/NAME`. The tests below run each on its seeds and on a
//! bounded number of mutations of them; `fuzz/fuzz_targets` lets cargo-fuzz drive the same functions.

mod files;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::cache::{Cache, TtlLimits};
use crate::document::{Problems, SourceText};
use crate::engine::{
    AccessList, Action, Client, Engine, Forward, PublicAction, PublicGuard, Snapshot, StaleLimits, UpstreamResult,
};
use crate::forward::{ForwardRule, LoopGuard, Rules};
use crate::records::{TableSettings, Zone, compile, read_records};
use crate::wire::answer::{AnswerSection, ChainEnd};
use crate::wire::edns::{EXTENDED_ERRORS_MAX, EXTRA_TEXT_MAX, Options};
use crate::wire::header::{self, HEADER_LEN, Header};
use crate::wire::{Edns, Name, NameBuf, Query, Rtype, SoundMessage, Transport, UpstreamMessage};

/// Something that reads bytes which others choose.
pub struct Target {
    /// Its name, and that of the folder with its seeds.
    pub name: &'static str,
    /// Reads the bytes; panics where a promise is broken.
    pub run: fn(&[u8]),
}

/// Runs a target, by its name.
///
/// # Panics
/// Where a promise is broken, and where no target has the name.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    (target.expect("the name of a target").run)(bytes);
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "query", run: query },
    Target { name: "answer", run: answer },
    Target { name: "records", run: files::records },
    Target { name: "rdata", run: files::rdata },
    Target { name: "metadata", run: files::metadata },
    Target { name: "zone_file", run: files::zone_file },
    Target { name: "settings", run: files::settings },
];

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// An alias out of the table, one inside, an address, and a wildcard.
const RECORDS: &str = r#"
[[record]]
name = "t.example"
type = "CNAME"
data = "y.up.test"
[[record]]
name = "in.example"
type = "CNAME"
data = "a.example"
[[record]]
name = "a.example"
type = "A"
data = "10.1.0.5"
[[record]]
name = "*.wild.example"
type = "A"
data = "10.1.0.6"
"#;

fn snapshot() -> &'static Snapshot {
    static SNAPSHOT: OnceLock<Snapshot> = OnceLock::new();
    SNAPSHOT.get_or_init(|| {
        let many: Vec<_> = (0..200).map(|number| format!("\"10.2.0.{number}\"")).collect();
        let many = format!("[[record]]\nname = \"many.example\"\ntype = \"A\"\ndata = [{}]\n", many.join(", "));
        let text = [RECORDS, &many].concat();
        let source = SourceText::new("records.toml", text);
        let mut problems = Problems::default();
        let packs = read_records(&source, 0, &mut problems);
        let zones: Vec<Zone> = Vec::new();
        let table = compile(&packs, &zones, TableSettings { ttl: 10 }, vec![source], &mut problems);
        assert!(!problems.has_errors(), "{problems}");
        let rule = Arc::new(ForwardRule {
            zone: Name::root(),
            upstreams: Box::default(),
            max_ttl: None,
            max_negative_ttl: None,
            upstream_set: 1,
        });
        let guard = PublicGuard::new(PublicAction::default(), Vec::new(), None, &table, |_| Vec::new());
        Snapshot {
            generation: 0,
            guard,
            access: AccessList::new(&["10.0.0.0/8".parse().expect("a network")]),
            table,
            rules: Rules::new([], rule, &[]),
            designated: Box::default(),
            ttl_limits: TtlLimits { max: 3600, max_negative: 60, max_negative_private: 10 },
            stale_limits: StaleLimits { max: Duration::from_secs(86_400), max_private: Duration::from_secs(60) },
        }
    })
}

#[expect(clippy::disallowed_methods, reason = "any instant will do")]
fn now() -> Instant {
    Instant::now()
}

fn engine() -> Engine {
    Engine::new(Arc::new(Cache::new(8 << 20)), LoopGuard::default())
}

/// A query of a client that may ask, and of one that may not, over UDP and TCP.
fn query(bytes: &[u8]) {
    let (engine, snapshot, now) = (engine(), snapshot(), now());
    let mut reply = Vec::new();
    for address in [CLIENT, STRANGER] {
        for transport in [Transport::Udp, Transport::Tcp] {
            let client = Client { address, transport };
            match engine.answer(snapshot, bytes, client, now, 1, &mut reply) {
                Action::Answered(_) | Action::AnsweredAndRefresh(..) | Action::Refused(_) => {
                    check_reply(bytes, client, &reply);
                }
                Action::Forward(_) => assert_eq!(address, CLIENT, "a stranger's question goes nowhere"),
                Action::Dropped(_) => {}
            }
        }
    }
}

/// An upstream's answer to the question that it repeats, as clients of every kind get it: at once, from the cache, stale, and
/// as the rest of a chain that begins in the table.
fn answer(bytes: &[u8]) {
    let message = UpstreamMessage::read(bytes.to_vec());
    let Some(question) = question(bytes) else { return };
    let (engine, snapshot, heard) = (engine(), snapshot(), now());
    let mut reply = Vec::new();
    for (number, transport) in [Transport::Udp, Transport::Tcp].into_iter().enumerate() {
        let client = Client { address: CLIENT, transport };
        for opt in [None, Some((512, 0)), Some((1232, 0x8000))] {
            let asked = asked(question, opt);
            // Once for the answer, once for the stale one.
            let mut forwards = Vec::new();
            for _ in 0..2 {
                match engine.answer(snapshot, &asked, client, heard, 0, &mut reply) {
                    Action::Forward(forward) => forwards.push(forward),
                    // Kept a moment ago, for a client of another kind.
                    Action::Answered(_) | Action::AnsweredAndRefresh(..) => {
                        check_reply(&asked, client, &reply);
                        check_content(&reply);
                    }
                    Action::Refused(_) | Action::Dropped(_) => {}
                }
            }
            let Some(question) = forwards.first().map(|forward| forward.question.clone()) else { continue };
            let Some(kept) = engine.keep(snapshot, &question, &mut message.clone(), heard, |_| ()) else { continue };
            let results = [UpstreamResult::Answer(&kept), UpstreamResult::Stale(&kept)];
            for (Forward { chain, .. }, result) in forwards.into_iter().zip(results) {
                let chain = chain.map(|chain| *chain);
                let action = engine.resolve(snapshot, &asked, client, chain, result, heard, 0, &mut reply);
                if let Action::Answered(_) | Action::AnsweredAndRefresh(..) = action {
                    check_reply(&asked, client, &reply);
                    check_content(&reply);
                }
            }
            let later = heard + Duration::from_secs(5 + number as u64);
            if let Action::Answered(_) = engine.answer(snapshot, &asked, client, later, 0, &mut reply) {
                check_reply(&asked, client, &reply);
                check_content(&reply);
            }
        }
    }
}

/// The question of a message: name, type, class.
fn question(bytes: &[u8]) -> Option<&[u8]> {
    let rest = bytes.get(HEADER_LEN..)?;
    rest.get(..crate::wire::name::wire_len(rest)? + 4)
}

/// A query for a question; `opt` is payload size and flags.
fn asked(question: &[u8], opt: Option<(u16, u16)>) -> Vec<u8> {
    let arcount = u16::from(opt.is_some());
    let head = Header { id: 0x1234, flags: header::RD, qdcount: 1, ancount: 0, nscount: 0, arcount };
    let mut asked = [&head.to_bytes(), question].concat();
    if let Some((payload, flags)) = opt {
        asked.extend_from_slice(&[0, 0, 41]);
        asked.extend_from_slice(&payload.to_be_bytes());
        asked.extend_from_slice(&[0, 0]);
        asked.extend_from_slice(&flags.to_be_bytes());
        asked.extend_from_slice(&[0, 0]);
    }
    asked
}

/// What holds for every reply to a query.
fn check_reply(query: &[u8], client: Client, reply: &[u8]) {
    let mut name_buf = NameBuf::new();
    let edns: Option<Edns> = Query::parse(query, &mut name_buf).ok().and_then(|query| query.edns);
    let limit = match (client.address, client.transport) {
        (STRANGER, Transport::Udp) => query.len(),
        // What cannot be read has a header, its question and an OPT record with a code at most.
        (_, transport) => transport.reply_limit(edns),
    };
    assert!(reply.len() <= limit, "{} bytes in reply, {limit} are allowed: {query:02x?}", reply.len());
    let head = Header::read(reply).expect("a header");
    let query_head = Header::read(query).expect("a query with a header");
    assert_eq!((head.id, head.flags & header::QR), (query_head.id, header::QR));
    assert_eq!(query_head.flags & header::QR, 0, "a response is never answered");
    let sound = SoundMessage::parse(reply).unwrap_or_else(|| panic!("a reply that is not sound: {reply:02x?}"));
    if let Some(opt) = sound.opt {
        let mut errors = 0;
        for (code, data) in Options(reply.get(opt.record.data()).expect("its data")) {
            assert_eq!(code, 15, "options of another hop");
            assert!(data.len() <= 2 + EXTRA_TEXT_MAX);
            errors += 1;
        }
        assert!(errors <= EXTENDED_ERRORS_MAX);
    }
}

/// What holds for the content of every answer.
fn check_content(reply: &[u8]) {
    let SoundMessage { message, .. } = SoundMessage::parse(reply).expect("a sound reply");
    assert!(message.records.iter().all(|record| record.rtype != Rtype::OPT));
    let section = AnswerSection::of(message.view()).expect("names that can be compared");
    if section.end == ChainEnd::Name {
        assert!(!section.is_mixed(), "records that do not belong, or in another order: {reply:02x?}");
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// Mutations of each target.
    const MUTATIONS: usize = 4000;
    /// Bytes of them.
    const MUTATED_BYTES: usize = 1 << 18;

    #[expect(clippy::disallowed_methods, reason = "seeds are files")]
    fn seeds(name: &str) -> Vec<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
        let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        assert!(files.len() > 4, "{} has seeds", folder.display());
        files.iter().map(|file| std::fs::read(file).unwrap()).collect()
    }

    /// One seed, changed at some places: bytes, counts and lengths, pointers, pieces twice or missing, parts of another seed.
    fn mutated(seeds: &[Vec<u8>], random: &mut StdRng) -> Vec<u8> {
        let pick = |random: &mut StdRng, len: usize| random.random_range(0..len.max(1));
        let mut bytes = seeds[pick(random, seeds.len())].clone();
        for _ in 0..random.random_range(1..6) {
            let at = pick(random, bytes.len());
            match random.random_range(0..7) {
                0 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = random.random()),
                1 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << random.random_range(0..8)),
                2 => {
                    let value = [0_u16, 1, 4, 41, 255, 0xc00c, 0xffff][pick(random, 7)];
                    bytes.iter_mut().skip(at).zip(value.to_be_bytes()).for_each(|(byte, new)| *byte = new);
                }
                3 => {
                    let to = u16::try_from(pick(random, bytes.len()) & 0x3fff).unwrap();
                    let pointer = (0xc000 | to).to_be_bytes();
                    bytes.iter_mut().skip(at).zip(pointer).for_each(|(byte, new)| *byte = new);
                }
                4 => bytes.truncate(at),
                5 => {
                    let piece = bytes[at..(at + random.random_range(1..40)).min(bytes.len())].to_vec();
                    let place = pick(random, bytes.len());
                    bytes.splice(place..place, piece);
                }
                _ => {
                    let other = &seeds[pick(random, seeds.len())];
                    bytes.extend_from_slice(&other[pick(random, other.len())..]);
                }
            }
        }
        bytes.truncate(usize::from(u16::MAX));
        bytes
    }

    /// Each target by itself, so that they run beside one another.
    fn keeps_its_promises(name: &str) {
        let seeds = seeds(name);
        seeds.iter().for_each(|seed| run(name, seed));
        let mut random = StdRng::seed_from_u64(1);
        // About as much to read for each target.
        let mean = seeds.iter().map(Vec::len).sum::<usize>() / seeds.len();
        for _ in 0..MUTATIONS.min(MUTATED_BYTES / mean) {
            run(name, &mutated(&seeds, &mut random));
        }
    }

    #[test]
    fn queries() {
        keeps_its_promises("query");
    }

    #[test]
    fn answers() {
        keeps_its_promises("answer");
    }

    #[test]
    fn records_files() {
        keeps_its_promises("records");
    }

    #[test]
    fn record_data() {
        keeps_its_promises("rdata");
    }

    #[test]
    fn metadata() {
        keeps_its_promises("metadata");
    }

    #[test]
    fn zone_files() {
        keeps_its_promises("zone_file");
    }

    #[test]
    fn settings() {
        keeps_its_promises("settings");
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "targets are files")]
    fn every_target_is_in_the_package_for_cargo_fuzz() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        let package = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        for Target { name, .. } in TARGETS {
            assert!(package.contains(&format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"")), "{name}");
            let target = std::fs::read_to_string(folder.join(format!("fuzz_targets/{name}.rs"))).unwrap();
            assert!(target.contains(&format!("fuzz::run(\"{name}\", bytes)")), "{name}");
        }
        assert_eq!(std::fs::read_dir(folder.join("corpus")).unwrap().count(), TARGETS.len());
    }

    #[test]
    fn seeds_of_answers_are_answers() {
        let sound = seeds("answer").iter().filter(|seed| SoundMessage::parse(seed).is_some()).count();
        assert!(sound * 2 > seeds("answer").len(), "{sound} of the seeds are sound");
    }
}
