//! Every reason, with its fix: settings and records as files, upstreams played by hand.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::cache::Cache;
use crate::engine::{Engine, Snapshot};
use crate::forward::{LoopGuard, Protocol, Target, UpstreamSets, UpstreamState};
use crate::rdata;
use crate::reload::{azure_names, load};
use crate::wire::compose::Sections;
use crate::wire::header::HEADER_LEN;
use crate::wire::reply::Counts;
use crate::wire::{Header, OwnedRecord, Rcode, Rtype, Section};

const BLOB: &str = "acct.blob.core.windows.net";
const PRIVATE: &str = "acct.privatelink.blob.core.windows.net";
const SOA: &str = "azureprivatedns.net. azureprivatedns-host.microsoft.com. 1 3600 300 2419200 10";

/// A directory that is gone with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("pldns-explain-{}-{number}", std::process::id()));
        std::fs::create_dir_all(path.join("records")).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What one upstream query comes to.
#[derive(Clone, Default)]
struct Play {
    rcode: u16,
    answer: Vec<String>,
    authority: Vec<String>,
    error: Option<Cause>,
}

fn answers(lines: &[&str]) -> Play {
    Play { answer: lines.iter().map(ToString::to_string).collect(), ..Play::default() }
}

fn fails(rcode: u16) -> Play {
    Play { rcode, ..Play::default() }
}

fn breaks(cause: Cause) -> Play {
    Play { error: Some(cause), ..Play::default() }
}

fn nxdomain(lines: &[&str], zone: &str) -> Play {
    Play { rcode: 3, authority: vec![format!("{zone} 10 SOA {SOA}")], ..answers(lines) }
}

fn records(section: Section, lines: &[String]) -> impl Iterator<Item = OwnedRecord> + '_ {
    lines.iter().map(move |line| {
        let parts: Vec<&str> = line.splitn(4, ' ').collect();
        let rtype = Rtype::parse(parts[2]).unwrap();
        OwnedRecord {
            section,
            owner: Name::parse(parts[0]).unwrap(),
            rtype,
            class: 1,
            ttl: parts[1].parse().unwrap(),
            data: rdata::parse(rtype, parts[3]).unwrap(),
        }
    })
}

impl Play {
    fn message(&self, query: &[u8]) -> Option<Vec<u8>> {
        if self.error.is_some() {
            return None;
        }
        let question = &query[HEADER_LEN..HEADER_LEN + crate::wire::name::wire_len(&query[HEADER_LEN..]).unwrap() + 4];
        let all: Vec<_> =
            records(Section::Answer, &self.answer).chain(records(Section::Authority, &self.authority)).collect();
        let mut bytes = Vec::new();
        let mut sections = Sections::start(question, 65_535, &mut bytes);
        assert!(all.iter().all(|record| sections.push_owned(record)));
        let (Counts { answer, authority, additional }, _) = sections.finish();
        let flags = 0x8180 | self.rcode;
        let header = Header { id: 0, flags, qdcount: 1, ancount: answer, nscount: authority, arcount: additional };
        bytes[..HEADER_LEN].copy_from_slice(&header.to_bytes());
        Some(bytes)
    }
}

struct World {
    engine: Engine,
    snapshot: Snapshot,
    around: Surroundings,
    client: IpAddr,
    start: Instant,
}

impl World {
    #[expect(clippy::disallowed_methods, reason = "a start for the simulated clock")]
    fn new(settings: &str, records: &str) -> Self {
        let dir = Scratch::new();
        std::fs::write(dir.0.join("pldns.toml"), settings).unwrap();
        // A file of zero bytes would be an error.
        std::fs::write(dir.0.join("records/r.toml"), format!("{records}\n# A comment.\n")).unwrap();
        let loaded = load(&dir.0.join("pldns.toml"));
        assert!(!loaded.problems.has_errors(), "{}", loaded.problems);
        Self {
            engine: Engine::new(Arc::new(Cache::new(1 << 20)), LoopGuard::default()),
            snapshot: loaded.into_snapshot(&mut UpstreamSets::default(), 1),
            around: Surroundings::default(),
            client: "10.1.0.9".parse().unwrap(),
            start: Instant::now(),
        }
    }

    fn walk(&self, name: &str, rtype: Rtype, now: Instant) -> Walk<'_> {
        let question = Question { name: Name::parse(name).unwrap(), rtype, client: self.client };
        Walk::begin((&self.engine, &self.snapshot), azure_names(), question, self.around.clone(), now)
    }

    fn explain(&self, name: &str, plays: &[Play]) -> Explanation {
        self.explain_at(name, Rtype::A, plays, self.start)
    }

    fn explain_at(&self, name: &str, rtype: Rtype, plays: &[Play], now: Instant) -> Explanation {
        let mut walk = self.walk(name, rtype, now);
        let mut plays = plays.iter();
        while let Some((rule, query, _)) = walk.next() {
            let Some(play) = plays.next() else { break };
            let message = play.message(&query);
            let tried = Attempt {
                upstream: rule.upstreams[0].to_string(),
                over: "udp".to_owned(),
                milliseconds: 1.0,
                rcode: message.as_ref().map(|_| Rcode(play.rcode).to_string()),
                edns: true,
                error: play.error.map(|_| "timeout".to_owned()),
                cause: play.error,
            };
            walk.take_response(vec![tried], message.as_deref(), now);
        }
        walk.finish()
    }
}

#[track_caller]
fn check(explanation: &Explanation, verdict: Verdict, cause: Cause, words: &[&str]) {
    assert_eq!((explanation.verdict, explanation.cause), (Some(verdict), cause), "{explanation}");
    let text = format!("{} {}", explanation.reason, explanation.fix.as_deref().unwrap_or("(nothing to fix)"));
    for word in words {
        assert!(text.contains(word), "{word:?} is missing in {text:?}");
    }
    let shown = explanation.to_string();
    let too_wide = |line: &&str| line.chars().count() > 80 && line.split_whitespace().count() > 1;
    assert_eq!(shown.lines().find(too_wide), None, "{shown}");
    let json = serde_json::to_string(explanation).unwrap();
    assert_eq!(&serde_json::from_str::<Explanation>(&json).unwrap(), explanation, "it reads what it writes");
}

fn record(name: &str, data: &str, more: &str) -> String {
    format!("[[record]]\nname = {name:?}\ntype = \"A\"\ndata = {data:?}\n{more}\n")
}

fn chain() -> [String; 2] {
    [format!("{BLOB} 60 CNAME {PRIVATE}."), format!("{PRIVATE} 60 CNAME blob.ams20.store.core.windows.net.")]
}

fn public_chain() -> Play {
    let [first, second] = chain();
    answers(&[&first, &second, "blob.ams20.store.core.windows.net 60 A 20.60.1.1"])
}

#[test]
fn a_record_answers_with_its_file_and_line() {
    let world = World::new("", &format!("\n{}", record(BLOB, "10.1.0.5", "")));
    let explanation = world.explain(BLOB, &[]);
    check(&explanation, Verdict::Private, Cause::Record, &["records/r.toml:2", "(nothing to fix)"]);
    assert_eq!(explanation.answer, [format!("{BLOB}. 10 IN A 10.1.0.5")]);
    let nodata = world.explain_at(BLOB, Rtype::AAAA, &[], world.start);
    check(&nodata, Verdict::Nodata, Cause::NoData, &["AAAA", "r.toml:2"]);
    let public = World::new("", &record(BLOB, "20.60.1.1", "")).explain(BLOB, &[]);
    check(&public, Verdict::Public, Cause::PublicRecord, &["r.toml:1", "private endpoint's address"]);
    let mixed =
        World::new("", &record(BLOB, "20.60.1.1", "").replace("\"20.60.1.1\"", "[\"10.0.0.1\", \"20.60.1.1\"]"));
    assert_eq!(mixed.explain(BLOB, &[]).verdict, Some(Verdict::Mixed));
}

#[test]
fn a_record_that_a_view_hides() {
    let world = World::new("", &record(BLOB, "10.9.0.5", "clients = [\"10.9.0.0/16\"]"));
    let explanation = world.explain(BLOB, &[public_chain()]);
    check(&explanation, Verdict::Public, Cause::HiddenByView, &["10.9.0.0/16", "10.1.0.9", "r.toml:1", "clients"]);
    let closed = World::new(
        "[[zone]]\nname = \"corp.example\"\nmissing = \"nxdomain\"\n",
        &record("a.corp.example", "10.9.0.5", "clients = [\"10.9.0.0/16\"]"),
    );
    check(&closed.explain("a.corp.example", &[]), Verdict::Nxdomain, Cause::HiddenByView, &["10.9.0.0/16"]);
}

#[test]
fn a_public_name_without_a_private_endpoint() {
    let world = World::new("", "");
    let play = answers(&[
        &format!("{BLOB} 60 CNAME blob.ams20.store.core.windows.net."),
        "blob.ams20.store.core.windows.net 60 A 20.60.1.1",
    ]);
    let explanation = world.explain(BLOB, std::slice::from_ref(&play));
    check(&explanation, Verdict::Public, Cause::NoEndpoint, &["privatelink", "tenant", "approve"]);
    let half = World::new("", &record(PRIVATE, "10.1.0.5", "")).explain(BLOB, &[play]);
    check(&half, Verdict::Public, Cause::NoEndpoint, &["There is a record for", "not approved"]);
}

#[test]
fn a_privatelink_name_without_a_record() {
    let world = World::new("", "");
    let explanation = world.explain(BLOB, &[public_chain()]);
    check(
        &explanation,
        Verdict::Public,
        Cause::NoRecord,
        &[PRIVATE, "pldns generate", "privatelink.blob.core.windows.net"],
    );
    let named = explanation.steps.iter().any(|step| *step == Step::Privatelink { name: PRIVATE.to_owned() });
    assert!(named, "{explanation}");
}

#[test]
fn a_linked_zone_that_shadows_the_name() {
    let play = nxdomain(&[&chain()[0]], "privatelink.blob.core.windows.net");
    let explanation = World::new("", "").explain(BLOB, &[play]);
    check(&explanation, Verdict::Nxdomain, Cause::Shadowed, &["is linked", "unlink", "NxDomainRedirect"]);
    let elsewhere = nxdomain(&[], "blob.core.windows.net");
    check(&World::new("", "").explain(BLOB, &[elsewhere]), Verdict::Nxdomain, Cause::NoSuchName, &["does not exist"]);
}

#[test]
fn a_rule_to_a_resolver_outside_of_the_network() {
    let world = World::new("[[forward]]\nzone = \"windows.net\"\nupstreams = [\"8.8.8.8\"]\n", "");
    let explanation = world.explain(BLOB, &[public_chain()]);
    check(&explanation, Verdict::Public, Cause::OutsideResolver, &["windows.net", "8.8.8.8", "168.63.129.16"]);
}

#[test]
fn a_rule_for_a_privatelink_zone_that_is_never_reached() {
    let settings = "[[forward]]\nzone = \"privatelink.blob.core.windows.net\"\nupstreams = [\"10.0.0.4\"]\n";
    let play = answers(&[&format!("{BLOB} 60 A 20.60.1.1")]);
    let explanation = World::new(settings, "").explain(BLOB, &[play]);
    let words = ["privatelink.blob.core.windows.net", "never reached", "public zone, blob.core.windows.net"];
    check(&explanation, Verdict::Public, Cause::RuleNotReached, &words);
}

#[test]
fn a_rule_for_a_privatelink_zone_with_the_upstreams_that_were_asked_is_not_the_reason() {
    let rule = |zone: &str, upstream: &str| format!("[[forward]]\nzone = {zone:?}\nupstreams = [{upstream:?}]\n");
    let private = "privatelink.blob.core.windows.net";
    let same = World::new(&(rule(".", "10.0.0.4") + &rule(private, "10.0.0.4")), "");
    let direct = answers(&[&format!("{BLOB} 60 A 20.60.1.1")]);
    check(
        &same.explain(BLOB, std::slice::from_ref(&direct)),
        Verdict::Public,
        Cause::NoEndpoint,
        &["no CNAME into a privatelink"],
    );
    check(&same.explain(BLOB, &[public_chain()]), Verdict::Public, Cause::NoRecord, &[PRIVATE, "has no record"]);
    let other = World::new(&(rule(".", "10.0.0.4") + &rule(private, "10.0.0.5")), "");
    check(&other.explain(BLOB, &[direct]), Verdict::Public, Cause::RuleNotReached, &["never reached"]);
    // The chain leads there: the rule is asked, and says that the name is public.
    let [first, second] = chain();
    let plays = [first, second, "blob.ams20.store.core.windows.net 60 A 20.60.1.1".to_owned()];
    check(&other.explain(BLOB, &plays.map(|line| answers(&[&line]))), Verdict::Public, Cause::NoRecord, &[PRIVATE]);
}

#[test]
fn an_endpoint_whose_connection_waits_for_approval() {
    let mut world = World::new("", "");
    world.around.unapproved = vec![Unapproved {
        endpoint: "/subscriptions/s/pe".to_owned(),
        names: vec![Name::parse("Acct.blob.core.windows.net").unwrap()],
        state: "the connection waits for approval".to_owned(),
    }];
    let words = ["/subscriptions/s/pe", "waits for approval", "approve"];
    let direct = answers(&[&format!("{BLOB} 60 A 20.60.1.1")]);
    check(&world.explain(BLOB, &[direct]), Verdict::Public, Cause::PendingApproval, &words);
    check(
        &world.explain(BLOB, &[nxdomain(&[], "core.windows.net")]),
        Verdict::Nxdomain,
        Cause::PendingApproval,
        &words,
    );
    check(
        &world.explain(PRIVATE, &[nxdomain(&[], "core.windows.net")]),
        Verdict::Nxdomain,
        Cause::PendingApproval,
        &words,
    );
    let other = answers(&["other.blob.core.windows.net 60 A 20.60.1.1"]);
    check(&world.explain("other.blob.core.windows.net", &[other]), Verdict::Public, Cause::NoEndpoint, &[]);
}

#[test]
fn a_client_that_does_not_use_this_server() {
    let mut world = World::new("", &record(BLOB, "10.1.0.5", ""));
    world.around.seen = Some(Seen::Never { minutes: 90 });
    let words = ["no query of 10.1.0.9 came", "90 min", "DNS servers of the network", "forwarder"];
    check(&world.explain(BLOB, &[]), Verdict::Private, Cause::ClientNotSeen, &words);
    // What is wrong here comes first.
    let direct = answers(&["acct2.blob.core.windows.net 60 A 20.60.1.1"]);
    check(&world.explain("acct2.blob.core.windows.net", &[direct]), Verdict::Public, Cause::NoEndpoint, &[]);
    world.around.seen = Some(Seen::Ago { minutes: 5 });
    let seen = world.explain(BLOB, &[]);
    check(&seen, Verdict::Private, Cause::Record, &[]);
    assert!(seen.to_string().contains("last query came 5 min ago"), "{seen}");
}

#[test]
fn an_expired_answer_is_served() {
    let world = World::new("", "");
    let walk = world.walk("www.example.com", Rtype::A, world.start);
    let (rule, query, key) = walk.next().unwrap();
    let message = answers(&["www.example.com 60 A 192.0.2.1"]).message(&query).unwrap();
    let mut message = crate::wire::UpstreamMessage::read(message);
    let answer =
        crate::cache::Answer::from_message(key, &mut message, &world.snapshot.ttl_limits, world.start).unwrap();
    world.engine.cache().insert(&answer, |_| ());
    drop(rule);
    let later = world.start + Duration::from_secs(100);
    let explanation = world.explain_at("www.example.com", Rtype::A, &[breaks(Cause::UpstreamTimeout)], later);
    check(&explanation, Verdict::Public, Cause::Stale, &["100 s old", "does not respond", "firewall"]);
    assert_eq!(explanation.source.as_deref(), Some("stale"));
    let cached = world.explain_at("www.example.com", Rtype::A, &[], world.start + Duration::from_secs(9));
    check(&cached, Verdict::Public, Cause::PublicName, &[]);
    assert!(cached.to_string().contains("9 s old, TTL 60 s"), "{cached}");
}

#[test]
fn a_failure_that_is_remembered() {
    let world = World::new("", "");
    let mut walk = world.walk("www.example.com", Rtype::A, world.start);
    walk.recall(None, world.start);
    let explanation = walk.finish();
    check(&explanation, Verdict::Failed, Cause::RememberedFailure, &["a moment ago", "168.63.129.16"]);
}

#[test]
fn a_budget_that_is_used_up() {
    let address: SocketAddr = "168.63.129.16:53".parse().unwrap();
    let mut world = World::new("", "");
    let target = Target { address, protocol: Protocol::Datagram };
    world.around.upstreams = vec![UpstreamState { pending: 180, waiting: 40, ..UpstreamState::new(&target) }];
    let explanation = world.explain("www.example.com", &[answers(&["www.example.com 60 A 192.0.2.1"])]);
    check(&explanation, Verdict::Public, Cause::Budget, &["180 queries", "40 wait", "replica"]);
}

#[test]
fn a_client_that_may_not_ask() {
    let mut world = World::new("", "");
    world.client = "192.0.2.7".parse().unwrap();
    let explanation = world.explain(BLOB, &[]);
    check(&explanation, Verdict::Refused, Cause::Access, &["192.0.2.7", "[access] allow"]);
}

#[test]
fn upstreams_that_are_broken() {
    let world = World::new("[[forward]]\nzone = \".\"\nupstreams = [\"10.0.0.4\"]\n", "");
    for (play, cause, words) in [
        (breaks(Cause::UpstreamTimeout), Cause::UpstreamTimeout, ["does not respond", "firewall"]),
        (breaks(Cause::UpstreamUnreachable), Cause::UpstreamUnreachable, ["cannot be reached", "[[forward]]"]),
        (breaks(Cause::UpstreamCertificate), Cause::UpstreamCertificate, ["is not accepted", "upstream_ca"]),
        (fails(5), Cause::UpstreamRefused, ["REFUSED", "Allow this server's address"]),
        (fails(2), Cause::UpstreamFailed, ["SERVFAIL", "log"]),
        (breaks(Cause::UpstreamTruncated), Cause::UpstreamTruncated, ["truncates", "TCP"]),
        (breaks(Cause::UpstreamWithoutEdns), Cause::UpstreamWithoutEdns, ["without EDNS", "RFC 6891"]),
    ] {
        let explanation = world.explain("www.example.com", &[play]);
        check(&explanation, Verdict::Failed, cause, &["10.0.0.4:53", words[0], words[1]]);
    }
}

#[test]
fn a_reload_that_was_rejected() {
    let mut world = World::new("", "");
    let problem = "error: records/new.toml:3:1: ...".to_owned();
    world.around.reload = Some(RejectedReload { problem, problem_count: 2 });
    let explanation = world.explain(BLOB, &[public_chain()]);
    check(&explanation, Verdict::Public, Cause::ReloadRejected, &["2 problems", "records/new.toml:3:1"]);
    let other = world.explain("www.example.com", &[answers(&["www.example.com 60 A 192.0.2.1"])]);
    check(&other, Verdict::Public, Cause::PublicName, &["No service of Azure", "(nothing to fix)"]);
}

#[test]
fn chains_say_who_answered_each_name() {
    let records = record(PRIVATE, "10.1.0.5", "")
        + "[[record]]\nname = \"files.corp.example\"\ntype = \"CNAME\"\ndata = \"acct.blob.core.windows.net\"\n";
    let world = World::new("", &records);
    let explanation = world.explain("files.corp.example", &[answers(&[&chain()[0]])]);
    check(&explanation, Verdict::Private, Cause::Record, &["r.toml:1"]);
    let by: Vec<_> = explanation.chain.iter().map(|link| link.by.as_str()).collect();
    assert!(by[0].ends_with("r.toml:6") && by[1] == "rule . (168.63.129.16:53)", "{by:?}");
}

#[test]
fn private_answers_of_upstreams_and_loops() {
    let world = World::new("", "");
    let linked = answers(&[&chain()[0], &format!("{PRIVATE} 10 A 10.1.0.5")]);
    check(&world.explain(BLOB, &[linked]), Verdict::Private, Cause::PrivateUpstream, &["168.63.129.16"]);
    let looping = World::new(
        "",
        "[[record]]\nname = \"a.example\"\ntype = \"CNAME\"\ndata = \"b.example\"\n\
         [[record]]\nname = \"b.example\"\ntype = \"CNAME\"\ndata = \"a.example\"\n",
    );
    check(&looping.explain("a.example", &[]), Verdict::Failed, Cause::Loop, &["does not end"]);
    let unasked = world.explain(BLOB, &[]);
    assert_eq!((unasked.verdict, unasked.cause), (None, Cause::NotAsked), "{unasked}");
    check(&world.explain("localhost", &[]), Verdict::Private, Cause::BuiltIn, &["always answered"]);
}
