//! Every name of a CNAME chain is answered by whoever the settings make responsible for it: the table, else the upstreams
//! of the rule with the longest zone. An upstream is believed only about names that its rule gives it.

use crate::common::cast::{record, record_with};
use crate::common::fake::dead_address;
use crate::common::{Answer, FakeAzureDns, Play, Pldns, Query, Script, dns};
use std::thread;
use std::time::Duration;

const APP: &str = "app.corp-a.test 60 IN CNAME www.corp-b.test";
const WWW: &str = "www.corp-b.test 30 IN A 192.0.2.50";

/// Upstreams of the rules for `.`, `corp-a.test` and `corp-b.test`. The first ones' answers end in aliases to the next.
struct Corporate {
    root: FakeAzureDns,
    a: FakeAzureDns,
    b: FakeAzureDns,
}

impl Corporate {
    fn new() -> Self {
        let all = Self { root: FakeAzureDns::start(), a: FakeAzureDns::start(), b: FakeAzureDns::start() };
        all.a.answer("app.corp-a.test A", &[APP]);
        all.b.answer("www.corp-b.test A", &[WWW]);
        all
    }

    fn rules(&self) -> String {
        self.root.rule(".") + &self.a.rule("corp-a.test") + &self.b.rule("corp-b.test")
    }

    fn serve(&self, records: &str) -> Pldns {
        Pldns::start(&self.rules(), records)
    }
}

/// Any TTL instead of the first.
fn any_ttl(line: &str) -> String {
    let mut words: Vec<&str> = line.split(' ').collect();
    words[1] = "*";
    words.join(" ")
}

#[test]
fn an_alias_to_another_rules_name_is_answered_by_its_upstreams() {
    let all = Corporate::new();
    let server = all.serve("");
    for query in
        [Query::new("app.corp-a.test A"), Query::new("APP.corp-a.test A").tcp(), Query::new("app.corp-a.test A")]
    {
        let got = query.ask_at(server.address());
        got.rcode("NOERROR").no_aa().ra().no_ede().answers(&[any_ttl(APP), any_ttl(WWW)]);
    }
    assert_eq!(all.a.seen("app.corp-a.test A").len(), 1, "an alias alone is kept as well");
    assert_eq!(all.b.seen("www.corp-b.test A").len(), 1, "the rest comes from the cache");
    assert!(all.root.seen("app.corp-a.test *").is_empty() && all.a.seen("www.corp-b.test *").is_empty());
}

#[test]
fn a_public_chain_is_stopped_where_a_privatelink_rule_has_its_next_name() {
    let (public, azure) = (FakeAzureDns::start(), FakeAzureDns::start());
    let (name, target) = ("acct3.queue.core.windows.net", "acct3.privatelink.queue.core.windows.net");
    let alias = format!("{name} 60 IN CNAME {target}");
    let public_rest = [
        format!("{target} 60 IN CNAME queue.xyz.store.core.windows.net"),
        "queue.xyz.store.core.windows.net 60 IN A 203.0.113.40".to_owned(),
    ];
    public.answer(&format!("{name} A"), &[&alias, &public_rest[0], &public_rest[1]]);
    azure.answer(&format!("{target} A"), &[&format!("{target} 10 IN A 10.77.0.4")]);
    azure.gives(&format!("{target} AAAA"), Answer::negative("NOERROR", "privatelink.queue.core.windows.net"));
    public.answer(&format!("{name} AAAA"), &[&alias, &format!("{target} 60 IN AAAA 2001:db8::1")]);
    let server = Pldns::start(&(public.rule(".") + &azure.rule("privatelink.queue.core.windows.net")), "");
    for tcp in [false, true, false] {
        let ask = |question: String| {
            let query = Query::new(&question);
            if tcp { query.tcp() } else { query }.ask_at(server.address())
        };
        ask(format!("{name} A"))
            .rcode("NOERROR")
            .answers(&[any_ttl(&alias), format!("{target} * IN A 10.77.0.4")])
            .authority::<&str>(&[]);
        let nodata = ask(format!("{name} AAAA"));
        nodata.rcode("NOERROR").answers(&[any_ttl(&alias)]);
        assert_eq!(nodata.message.authorities.len(), 1, "the SOA of the private zone: {}", nodata.message);
    }
    assert_eq!(public.seen(&format!("{name} A")).len(), 1);
    assert_eq!(azure.seen(&format!("{target} *")).len(), 2);
}

#[test]
fn an_alias_without_its_target_is_continued_at_the_same_upstream() {
    let fake = FakeAzureDns::start();
    let (alias, address) = ("flaky.example 300 IN CNAME flaky.cdn.example", "flaky.cdn.example 60 IN A 192.0.2.60");
    fake.on("flaky.example A", Script::udp([Play::answers(&[alias]), Play::answers(&[alias, address])]));
    fake.answer("flaky.cdn.example A", &[address]);
    let server = Pldns::start(&fake.rule("."), "");
    for _ in 0..2 {
        server.ask("flaky.example A").rcode("NOERROR").answers(&[any_ttl(alias), any_ttl(address)]);
    }
    assert_eq!(fake.seen("flaky.cdn.example A").len(), 1);
}

#[test]
fn an_upstream_is_not_believed_about_another_rules_names() {
    let all = Corporate::new();
    // MaginotDNS: whoever answers for corp-a.test adds what it likes about corp-b.test.
    let evil = "www.corp-b.test 3600 IN A 198.51.100.66";
    all.a.answer("x.corp-a.test A", &["x.corp-a.test 60 IN CNAME www.corp-b.test", evil]);
    all.a.answer("y.corp-a.test A", &[evil, "y.corp-a.test 60 IN CNAME WWW.Corp-B.test"]);
    let negative = Answer::of(&["z.corp-a.test 60 IN CNAME www.corp-b.test"])
        .rcode("NXDOMAIN")
        .authority(&["corp-b.test 60 IN SOA ns.corp-b.test h.corp-b.test 1 2 3 4 60"]);
    all.a.gives("z.corp-a.test A", negative);
    let server = all.serve("");
    for name in ["x", "y", "z"] {
        for _ in 0..2 {
            let got = server.ask(&format!("{name}.corp-a.test A"));
            let alias = format!("{name}.corp-a.test * IN CNAME www.corp-b.test");
            got.rcode("NOERROR").answers(&[alias, any_ttl(WWW)]).authority::<&str>(&[]);
        }
    }
    server.ask("www.corp-b.test A").answers(&[any_ttl(WWW)]);
    assert_eq!(all.b.seen("www.corp-b.test A").len(), 1, "asked of those who are responsible, then kept");
}

#[test]
fn a_name_with_two_aliases_brings_in_no_address_of_another_rules_name() {
    let all = Corporate::new();
    let evil = "www.corp-b.test 60 IN A 198.51.100.66";
    let aliases = ["y.corp-a.test 60 IN CNAME www.corp-b.test", "y.corp-a.test 60 IN CNAME z.corp-a.test"];
    let (first, end) = ("x.corp-a.test 60 IN CNAME y.corp-a.test", "z.corp-a.test 60 IN A 192.0.2.3");
    all.a.answer("x.corp-a.test A", &[first, aliases[0], aliases[1], end, evil]);
    all.a.answer("v.corp-a.test A", &[&first.replacen('x', "v", 1), aliases[1], aliases[0], evil, end]);
    let server = all.serve("");
    for name in ["x", "v", "x", "v"] {
        let got = Query::new(&format!("{name}.corp-a.test A")).tcp().ask_at(server.address());
        assert!(!got.message.to_string().contains("198.51.100.66"), "{}", got.message);
    }
}

#[test]
fn nodata_and_nxdomain_are_final_where_the_responsible_say_so() {
    let all = Corporate::new();
    let soa = |zone: &str| format!("{zone} 60 IN SOA ns.{zone} h.{zone} 1 2 3 4 60");
    // At the first step, at the second, and for the whole chain from the same upstream.
    all.a.gives("none.corp-a.test A", Answer::negative("NXDOMAIN", "corp-a.test"));
    all.b.gives("www.corp-b.test AAAA", Answer::of(&[]).authority(&[&soa("corp-b.test")]));
    all.a.answer("app.corp-a.test AAAA", &[APP]);
    all.a.answer("lost.corp-a.test A", &["lost.corp-a.test 60 IN CNAME lost.corp-b.test"]);
    all.b.gives("lost.corp-b.test A", Answer::of(&[]).rcode("NXDOMAIN").authority(&[&soa("corp-b.test")]));
    let alias = "one.corp-b.test 60 IN CNAME two.corp-b.test";
    for (kind, rcode) in [("AAAA", "NOERROR"), ("A", "NXDOMAIN")] {
        let answer = Answer::of(&[alias]).rcode(rcode).authority(&[&soa("corp-b.test")]);
        all.b.gives(&format!("one.corp-b.test {kind}"), answer);
    }
    let server = all.serve("");
    for _ in 0..2 {
        server.ask("none.corp-a.test A").rcode("NXDOMAIN").no_answers();
        let nodata = server.ask("app.corp-a.test AAAA");
        nodata.rcode("NOERROR").answers(&[any_ttl(APP)]).authority(&[any_ttl(&soa("corp-b.test"))]);
        let lost = server.ask("lost.corp-a.test A");
        lost.rcode("NXDOMAIN").answers(&["lost.corp-a.test * IN CNAME lost.corp-b.test"]);
        lost.authority(&[any_ttl(&soa("corp-b.test"))]);
        server.ask("one.corp-b.test AAAA").rcode("NOERROR").answers(&[any_ttl(alias)]);
        server.ask("one.corp-b.test A").rcode("NXDOMAIN").answers(&[any_ttl(alias)]);
    }
    assert!(all.b.seen("two.corp-b.test *").is_empty(), "an SOA of the responsible is the answer");
}

#[test]
fn a_chain_may_cross_rules_and_the_table() {
    let all = Corporate::new();
    all.a.answer(
        "start.corp-a.test A",
        &["start.corp-a.test 60 IN CNAME mid.table.test", "mid.table.test 60 IN A 192.0.2.9"],
    );
    all.b.answer("end.corp-b.test A", &["end.corp-b.test 60 IN CNAME last.table.test"]);
    let records = record_with("mid.table.test", "CNAME", &["end.corp-b.test."], "")
        + &record("*-x.table.test", "A", &["10.0.0.2"])
        + &record_with("last.table.test", "A", &["10.0.0.1"], "clients = [\"127.0.0.1/32\"]");
    let server = all.serve(&records);
    all.b.answer("ws.corp-b.test A", &["ws.corp-b.test 60 IN CNAME ws-x.table.test"]);
    all.root.answer("last.table.test A", &["last.table.test 60 IN A 192.0.2.77"]);
    let before = [
        "start.corp-a.test * IN CNAME mid.table.test",
        "mid.table.test 10 IN CNAME end.corp-b.test",
        "end.corp-b.test * IN CNAME last.table.test",
    ];
    for _ in 0..2 {
        let seen = server.ask("start.corp-a.test A");
        seen.rcode("NOERROR").no_aa().answers(&[before[0], before[1], before[2], "last.table.test 10 IN A 10.0.0.1"]);
        // A client that does not see the record gets the rule's answer.
        let other = Query::new("start.corp-a.test A").from("127.0.0.2").ask_at(server.address());
        other.rcode("NOERROR").answers(&[before[0], before[1], before[2], "last.table.test * IN A 192.0.2.77"]);
        server
            .ask("ws.corp-b.test A")
            .answers(&["ws.corp-b.test * IN CNAME ws-x.table.test", "ws-x.table.test 10 IN A 10.0.0.2"]);
    }
}

#[test]
fn an_alias_to_a_name_that_is_answered_here_ends_there() {
    let fake = FakeAzureDns::start();
    fake.answer("a.example A", &["a.example 60 IN CNAME x.localhost", "x.localhost 60 IN A 192.0.2.1"]);
    fake.answer("b.example A", &["b.example 60 IN CNAME x.onion", "x.onion 60 IN A 192.0.2.1"]);
    let server = Pldns::start(&fake.rule("."), "");
    for _ in 0..2 {
        server
            .ask("a.example A")
            .rcode("NOERROR")
            .answers(&["a.example * IN CNAME x.localhost", "x.localhost 10 IN A 127.0.0.1"]);
        server.ask("b.example A").rcode("NXDOMAIN").answers(&["b.example * IN CNAME x.onion"]).soa("onion", 10);
    }
}

#[test]
fn rules_with_the_same_upstreams_are_one() {
    let fake = FakeAzureDns::start();
    let lines = ["a.example 60 IN CNAME b.test", "b.test 60 IN A 192.0.2.1"];
    fake.answer("a.example A", &lines);
    let server = Pldns::start(&(fake.rule(".") + &fake.rule("example") + &fake.rule("test")), "");
    server.ask("a.example A").answers(&lines);
    assert!(fake.seen("b.test *").is_empty());
}

/// `n0` to `n{len}`, each an alias of the next, in turns below two zones.
fn alternating(all: &Corporate, len: usize) -> Vec<String> {
    let name = |n: usize| format!("n{n}.corp-{}.test", if n.is_multiple_of(2) { "a" } else { "b" });
    let owner = |n: usize| if n.is_multiple_of(2) { &all.a } else { &all.b };
    let mut lines = Vec::new();
    for n in 0..len {
        lines.push(format!("{} 60 IN CNAME {}", name(n), name(n + 1)));
        owner(n).answer(&format!("{} A", name(n)), &[&lines[n]]);
    }
    lines.push(format!("{} 60 IN A 192.0.2.8", name(len)));
    owner(len).answer(&format!("{} A", name(len)), &[&lines[len]]);
    lines
}

#[test]
fn eight_aliases_across_rules_are_followed_and_forty_are_not() {
    let all = Corporate::new();
    let lines = alternating(&all, 8);
    let server = all.serve("");
    for query in [Query::new("n0.corp-a.test A"), Query::new("n0.corp-a.test A").tcp()] {
        let lines: Vec<String> = lines.iter().map(|line| any_ttl(line)).collect();
        query.ask_at(server.address()).rcode("NOERROR").answers(&lines);
    }
    let all = Corporate::new();
    alternating(&all, 40);
    let server = all.serve("");
    for _ in 0..2 {
        server.ask("n0.corp-a.test A").rcode("SERVFAIL").some_ede().no_answers();
    }
    let asked: usize = (0..=40)
        .map(|n| all.a.seen(&format!("n{n}.corp-a.test A")).len() + all.b.seen(&format!("n{n}.corp-b.test A")).len())
        .sum();
    assert!(asked <= 24, "{asked} queries");
}

#[test]
fn forty_aliases_that_one_upstream_gives_one_by_one_are_too_many() {
    let fake = FakeAzureDns::start();
    for n in 0..40 {
        fake.answer(&format!("n{n}.example A"), &[&format!("n{n}.example 60 IN CNAME n{}.example", n + 1)]);
    }
    let server = Pldns::start(&fake.rule("."), "");
    server.ask("n0.example A").rcode("SERVFAIL").some_ede().no_answers();
    let asked: usize = (0..=40).map(|n| fake.seen(&format!("n{n}.example A")).len()).sum();
    assert!(asked <= 24, "{asked} queries");
}

#[test]
fn loops_across_rules_fail_with_a_reason() {
    let all = Corporate::new();
    all.a.answer("x.corp-a.test A", &["x.corp-a.test 60 IN CNAME y.corp-b.test"]);
    all.b.answer("y.corp-b.test A", &["y.corp-b.test 60 IN CNAME t.table.test"]);
    all.root.answer("self.example A", &["self.example 60 IN CNAME self.example"]);
    all.root.answer("one.example A", &["one.example 60 IN CNAME two.example", "two.example 60 IN CNAME one.example"]);
    all.root.answer("ping.example A", &["ping.example 60 IN CNAME pong.example"]);
    all.root.answer("pong.example A", &["pong.example 60 IN CNAME ping.example"]);
    let server = all.serve(&record("t.table.test", "CNAME", &["x.corp-a.test."]));
    for name in ["x.corp-a.test", "y.corp-b.test", "t.table.test", "self.example", "one.example", "ping.example"] {
        for query in [Query::new(&format!("{name} A")), Query::new(&format!("{name} A")).tcp()] {
            query.ask_at(server.address()).rcode("SERVFAIL").some_ede().no_answers();
        }
    }
    for (fake, name) in [(&all.a, "x.corp-a.test"), (&all.b, "y.corp-b.test"), (&all.root, "pong.example")] {
        assert!(fake.seen(&format!("{name} A")).len() <= 2, "{name} was asked again and again");
    }
}

#[test]
fn queries_for_cname_and_any_are_not_followed() {
    let all = Corporate::new();
    for kind in ["CNAME", "ANY"] {
        all.a.answer(&format!("app.corp-a.test {kind}"), &[APP]);
    }
    let server = all.serve("");
    server.ask("app.corp-a.test CNAME").rcode("NOERROR").answers(&[APP]);
    Query::new("app.corp-a.test ANY").tcp().ask_at(server.address()).rcode("NOERROR").answers(&[APP]);
    assert!(all.b.seen("www.corp-b.test *").is_empty());
}

#[test]
fn without_recursion_desired_no_rule_continues_an_alias_of_the_table() {
    let all = Corporate::new();
    let server = all.serve(&record("t.test", "CNAME", &["app.corp-a.test."]));
    server.ask("t.test A").answers(&["t.test 10 IN CNAME app.corp-a.test", APP, WWW]);
    let ask = |question: &str| Query::new(question).no_rd().ask_at(server.address());
    ask("t.test A").rcode("NOERROR").aa().answers(&["t.test 10 IN CNAME app.corp-a.test"]);
    ask("app.corp-a.test A").rcode("REFUSED").ede(20);
}

#[test]
fn cached_chains_follow_the_rules_when_they_change() {
    let all = Corporate::new();
    let whole = ["app.corp-a.test 60 IN CNAME www.corp-b.test", "www.corp-b.test 60 IN A 198.51.100.7"];
    all.a.answer("app.corp-a.test A", &whole);
    let head = "[listen]\nadmin = \"\"\ndrain = \"0s\"\n\n[records]\nfiles = [\"records/*.toml\"]\nwatch = \"0s\"\n\n";
    let one_rule = format!("{head}{}", all.a.rule("."));
    let two_rules = format!("{one_rule}{}", all.b.rule("corp-b.test"));
    let mut server = Pldns::start(&one_rule, "");
    for (settings, address) in [(&one_rule, whole[1]), (&two_rules, WWW), (&one_rule, whole[1]), (&two_rules, WWW)] {
        server.write("pldns.toml", settings);
        server.signal(libc::SIGHUP);
        server.wait_for("reloaded");
        for _ in 0..2 {
            server.ask("app.corp-a.test A").rcode("NOERROR").answers(&[any_ttl(whole[0]), any_ttl(address)]);
        }
    }
    assert_eq!(all.a.seen("app.corp-a.test A").len(), 1, "all but the first come from the cache");
    assert_eq!(all.b.seen("www.corp-b.test A").len(), 1);
}

#[test]
fn a_step_that_fails_leaves_no_alias_alone() {
    let all = Corporate::new();
    all.b.gives("www.corp-b.test A", Answer::of(&[]).rcode("REFUSED"));
    all.b.gives("mail.corp-b.test A", Answer::of(&[]).rcode("SERVFAIL").option(15, &[0, 9]));
    all.a.answer("mail.corp-a.test A", &["mail.corp-a.test 60 IN CNAME mail.corp-b.test"]);
    all.a.answer("gone.corp-a.test A", &["gone.corp-a.test 60 IN CNAME gone.corp-c.test"]);
    let gone = format!("[[forward]]\nzone = \"corp-c.test\"\nupstreams = [\"{}\"]\n", dead_address());
    let server = Pldns::start(&(all.rules() + &gone), "");
    for _ in 0..2 {
        server.ask("app.corp-a.test A").rcode("SERVFAIL").ede(22).no_answers();
        server.ask("mail.corp-a.test A").rcode("SERVFAIL").ede(9).no_answers();
    }
    server.ask("gone.corp-a.test A").rcode("SERVFAIL").some_ede().no_answers();
    // A moment later it is there.
    all.b.answer("www.corp-b.test A", &[WWW]);
    for _ in 0..100 {
        let got = server.ask("app.corp-a.test A");
        if got.message.rcode() == 0 {
            got.answers(&[any_ttl(APP), any_ttl(WWW)]);
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("the failure is remembered for good");
}

#[test]
fn a_chain_joins_the_question_that_it_leads_to() {
    let all = Corporate::new();
    all.a.answer("other.corp-a.test A", &["other.corp-a.test 60 IN CNAME www.corp-b.test"]);
    all.b.be_silent(true);
    let server = all.serve("");
    let address = server.address();
    thread::scope(|scope| {
        let waiting: Vec<_> = ["www.corp-b.test A", "app.corp-a.test A", "other.corp-a.test A"]
            .map(|question| scope.spawn(move || Query::new(question).ask_at(address)))
            .into();
        all.a.wait_for("app.corp-a.test A", 1);
        all.a.wait_for("other.corp-a.test A", 1);
        all.b.wait_for("www.corp-b.test A", 1);
        all.b.be_silent(false);
        for got in waiting {
            got.join().unwrap().rcode("NOERROR").answer(&any_ttl(WWW));
        }
    });
    let ids: std::collections::HashSet<u16> = all.b.seen("www.corp-b.test A").iter().map(|seen| seen.id()).collect();
    assert!(ids.len() <= 2, "one question, and its repeat after a second: {ids:?}");
}

#[test]
fn a_stale_part_of_a_chain_is_said_to_be_stale() {
    let all = Corporate::new();
    all.b.answer("www.corp-b.test A", &["www.corp-b.test 1 IN A 192.0.2.50"]);
    let server = all.serve("");
    server.ask("app.corp-a.test A").answers(&[any_ttl(APP), any_ttl(WWW)]).no_ede();
    all.b.be_silent(true);
    thread::sleep(Duration::from_millis(1100));
    let got = server.ask("app.corp-a.test A");
    got.rcode("NOERROR").answers(&[any_ttl(APP), "www.corp-b.test 30 IN A 192.0.2.50".to_owned()]).ede(3);
}

#[test]
fn ad_needs_every_part_and_a_client_that_wants_it() {
    let all = Corporate::new();
    all.a.gives("app.corp-a.test A", Answer::of(&[APP]).flag(dns::AD));
    all.a.answer("plain.corp-a.test A", &["plain.corp-a.test 60 IN CNAME www.corp-b.test"]);
    all.b.gives("www.corp-b.test A", Answer::of(&[WWW]).flag(dns::AD));
    let server = all.serve(&record("t.test", "CNAME", &["www.corp-b.test."]));
    let ask = |question: &str, flags: u16| Query::new(question).flag(flags).ask_at(server.address());
    for _ in 0..2 {
        ask("app.corp-a.test A", dns::AD).ad().answers(&[any_ttl(APP), any_ttl(WWW)]);
        ask("app.corp-a.test A", 0).no_ad().answers(&[any_ttl(APP), any_ttl(WWW)]);
        ask("plain.corp-a.test A", dns::AD).no_ad().answer(&any_ttl(WWW));
        ask("t.test A", dns::AD).no_ad().answer(&any_ttl(WWW));
    }
    let signed = Query::new("app.corp-a.test A").edns_flags(dns::DO).ask_at(server.address());
    signed.ad().answer(&any_ttl(WWW));
}

#[test]
fn a_dname_leads_to_another_rule_with_or_without_its_cname() {
    let all = Corporate::new();
    let (dname, cname) = ("old.corp-a.test 60 IN DNAME corp-b.test", "www.old.corp-a.test 60 IN CNAME www.corp-b.test");
    let evil = "www.corp-b.test 60 IN A 198.51.100.66";
    all.a.answer("www.old.corp-a.test A", &[dname, cname, evil]);
    all.a.answer("www.old.corp-a.test AAAA", &[dname]);
    all.b.answer("www.corp-b.test AAAA", &["www.corp-b.test 30 IN AAAA 2001:db8::50"]);
    let server = all.serve("");
    for _ in 0..2 {
        server.ask("www.old.corp-a.test A").rcode("NOERROR").answers(&[any_ttl(dname), any_ttl(cname), any_ttl(WWW)]);
        let made = server.ask("www.old.corp-a.test AAAA");
        made.rcode("NOERROR");
        made.answers(&[any_ttl(dname), any_ttl(cname), "www.corp-b.test * IN AAAA 2001:db8::50".to_owned()]);
    }
}

#[test]
fn addresses_before_their_aliases_come_out_after_them() {
    let all = Corporate::new();
    let lines = [
        "c.corp-a.test 60 IN CNAME www.corp-b.test",
        "b.corp-a.test 60 IN CNAME c.corp-a.test",
        "a.corp-a.test 60 IN CNAME b.corp-a.test",
    ];
    all.a.answer("a.corp-a.test A", &["www.corp-b.test 60 IN A 198.51.100.66", lines[0], lines[1], lines[2]]);
    let server = all.serve("");
    server.ask("a.corp-a.test A").answers(&[lines[2], lines[1], lines[0], WWW]);
}

#[test]
fn a_whole_answer_of_one_upstream_is_put_in_order_too() {
    let fake = FakeAzureDns::start();
    let lines = ["order.example 60 IN CNAME t.example", "t.example 60 IN A 203.0.113.21"];
    fake.answer("order.example A", &[lines[1], lines[0]]);
    let chain = [
        "acct2.blob.core.windows.net 60 IN CNAME acct2.privatelink.blob.core.windows.net",
        "acct2.privatelink.blob.core.windows.net 60 IN CNAME blob.xyz02a.store.core.windows.net",
        "blob.xyz02a.store.core.windows.net 60 IN A 203.0.113.20",
    ];
    fake.answer("acct2.blob.core.windows.net A", &[chain[2], chain[1], chain[0]]);
    let server = Pldns::start(&fake.rule("."), "");
    for tcp in [false, true] {
        let ask = |question| {
            let query = Query::new(question);
            if tcp { query.tcp() } else { query }.ask_at(server.address())
        };
        ask("order.example A").rcode("NOERROR").answers(&lines.map(any_ttl));
        ask("acct2.blob.core.windows.net A").rcode("NOERROR").answers(&chain.map(any_ttl));
    }
}

#[test]
fn a_dname_alone_leads_into_the_table_and_no_public_address_slips_through() {
    let fake = FakeAzureDns::start();
    let target = "acct.privatelink.blob.core.windows.net";
    let dname = "dn0.example 60 IN DNAME privatelink.blob.core.windows.net";
    fake.answer("acct.dn0.example A", &[dname, &format!("{target} 60 IN A 203.0.113.91")]);
    let server = Pldns::start(&fake.rule("."), &record(target, "A", &["10.9.0.4"]));
    for _ in 0..2 {
        let cname = format!("acct.dn0.example * IN CNAME {target}");
        server.ask("acct.dn0.example A").rcode("NOERROR").answers(&[
            any_ttl(dname),
            cname,
            format!("{target} 10 IN A 10.9.0.4"),
        ]);
    }
}

#[test]
fn signatures_of_aliases_go_to_clients_that_ask_for_them() {
    let all = Corporate::new();
    // Covers CNAME, algorithm 8, 3 labels, TTL 60, two dates, a key tag, signed by the root.
    let signature = "app.corp-a.test 60 IN RRSIG \\# 20 0005 08 03 0000003c 65000000 64000000 0007 00 01";
    all.a.answer("app.corp-a.test A", &[APP, signature]);
    let server = all.serve("");
    for _ in 0..2 {
        let signed = Query::new("app.corp-a.test A").edns_flags(dns::DO).ask_at(server.address());
        signed.rcode("NOERROR").answers(&[any_ttl(APP), any_ttl(signature), any_ttl(WWW)]);
        server.ask("app.corp-a.test A").rcode("NOERROR").answers(&[any_ttl(APP), any_ttl(WWW)]);
    }
}
