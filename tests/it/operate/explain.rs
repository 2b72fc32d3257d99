//! `/explain`: what it says is what is answered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::http::fits;
use super::server::{Reply, SOON, Scratch, Server, ask, request, settings};
use crate::common::{Answer, FakeAzureDns, Play};

/// Records of every way to be found.
const RECORDS: &str = r#"
record = [
    { name = "a.example", type = "A", data = ["10.0.0.1", "10.0.0.2"], ttl = "30s" },
    { name = "*.wild.example", type = "A", data = "10.0.0.3" },
    { name = "*-end.label.example", type = "A", data = "10.0.0.4" },
    { name = "viewed.example", type = "A", data = "10.0.0.5", clients = ["127.0.0.0/8"] },
    { name = "viewed.example", type = "A", data = "10.0.0.6" },
    { name = "alias.example", type = "CNAME", data = "middle.example" },
    { name = "middle.example", type = "CNAME", data = "a.example" },
    { name = "outward.example", type = "CNAME", data = "elsewhere.test" },
    { name = "in.closed.example", type = "A", data = "10.0.0.7" },
    { name = "*.target.test", type = "A", data = "10.0.0.8" },
    { name = "only.example", type = "A", data = "10.0.0.9", clients = ["127.0.0.0/8"] },
]
"#;

/// An upstream that answers every query with the CNAME `x.target.test` and its address, TTL 2; those for `plain.…` with an address
/// alone, those for `fails.…` with SERVFAIL.
fn upstream() -> FakeAzureDns {
    let upstream = FakeAzureDns::start();
    upstream.otherwise(|name| match name.split('.').next() {
        Some("fails") => Play::of(Answer::of(&[]).rcode("SERVFAIL")),
        Some("plain") => Play::answers(&[&format!("{name} 2 IN A 10.7.7.7")]),
        _ => Play::answers(&[&format!("{name} 2 IN CNAME x.target.test"), "x.target.test 2 IN A 192.0.2.1"]),
    });
    upstream
}

fn start(upstream: &FakeAzureDns) -> Server {
    let dir = Arc::new(Scratch::new());
    dir.write("records/r.toml", RECORDS);
    let text = format!(
        "[[zone]]\nname = \"closed.example\"\nmissing = \"nxdomain\"\n\n[access]\nallow = [\"127.0.0.0/8\", \"10.0.0.0/8\"]\n\n\
         [[forward]]\nzone = \"test\"\nupstreams = [\"{}\"]\n\n[[forward]]\nzone = \".\"\nupstreams = [\"127.0.0.1:9\"]\n",
        upstream.address()
    );
    dir.write("pldns.toml", &settings(&text));
    Server::start_in(dir, |_| {})
}

fn get(server: &Server, query: &str) -> Reply {
    request(server.address("admin"), "GET", &format!("/explain?{query}"), &[])
}

#[track_caller]
fn explain(server: &Server, query: &str) -> Value {
    let reply = get(server, query);
    assert_eq!(reply.status, 200, "{reply:?}");
    let explanation = reply.json();
    let document: Value = serde_json::from_str(privatelink_dns::admin::OPENAPI).unwrap();
    fits(&explanation, &document["components"]["schemas"]["Explanation"], &document, query);
    explanation
}

/// The first step with this word.
#[track_caller]
fn step<'e>(explanation: &'e Value, word: &str) -> &'e Value {
    let steps = explanation["steps"].as_array().unwrap();
    steps.iter().find(|step| step["step"] == word).unwrap_or_else(|| panic!("no {word} in {explanation:#}"))
}

#[test]
fn what_the_table_says() {
    let upstream = upstream();
    let server = start(&upstream);
    for (query, source, by, owner, address) in [
        ("name=A.Example", "record", "record", "a.example", "10.0.0.1"),
        ("name=b.wild.example&type=A", "wildcard", "wildcard", "*.wild.example", "10.0.0.3"),
        ("name=c.d.wild.example", "wildcard", "wildcard", "*.wild.example", "10.0.0.3"),
        ("name=my-end.label.example.", "partial_wildcard", "partial_wildcard", "*-end.label.example", "10.0.0.4"),
        ("name=viewed.example", "record", "record", "viewed.example", "10.0.0.5"),
        ("name=viewed.example&client=10.9.9.9", "record", "record", "viewed.example", "10.0.0.6"),
        ("name=alias.example", "record", "record", "alias.example", "10.0.0.1"),
    ] {
        let explanation = explain(&server, query);
        assert_eq!((&explanation["outcome"], &explanation["source"]), (&"answered".into(), &source.into()), "{query}");
        let table = step(&explanation, "table");
        assert_eq!((&table["by"], &table["owner"]), (&by.into(), &owner.into()), "{explanation:#}");
        let answer = explanation["reply"]["answer"].as_array().unwrap();
        assert!(answer.iter().any(|record| record["data"] == address), "{explanation:#}");
        assert_eq!(explanation["reply"]["rcode"], "NOERROR");
        assert_eq!(explanation["reply"]["authoritative"], true);
    }
    assert_eq!(step(&explain(&server, "name=viewed.example"), "table")["view"], "127.0.0.0/8");
    assert_eq!(step(&explain(&server, "name=viewed.example&client=10.9.9.9"), "table")["view"], Value::Null);
    let alias = explain(&server, "name=alias.example&type=TYPE28");
    let names: Vec<_> = alias["steps"].as_array().unwrap().iter().filter_map(|step| step["name"].as_str()).collect();
    assert_eq!(names, ["alias.example", "middle.example", "a.example"]);
    assert_eq!((&alias["type"], &alias["steps"][1]["target"]), (&"AAAA".into(), &"middle.example".into()));
    assert_eq!(alias["steps"][3]["found"], "no_data");
    let closed = explain(&server, "name=no.closed.example");
    let table = step(&closed, "table");
    assert_eq!((&table["found"], &table["zone"]), (&"nx_domain".into(), &"closed.example".into()));
    assert_eq!((&closed["reply"]["rcode"], &closed["source"]), (&"NXDOMAIN".into(), &"zone".into()));
    let reverse = explain(&server, "name=1.0.0.10.in-addr.arpa&type=PTR");
    assert_eq!((&reverse["source"], &reverse["steps"][1]["by"]), (&"reverse".into(), &"reverse".into()));
    let local = explain(&server, "name=localhost");
    assert_eq!((&local["source"], &step(&local, "rule")["rule"]), (&"built_in".into(), &"localhost".into()));
    server.stop();
}

#[test]
fn who_may_not_ask_is_told_so() {
    let upstream = upstream();
    let server = start(&upstream);
    let refused = explain(&server, "name=a.example&client=192.0.2.1");
    assert_eq!((&refused["outcome"], &refused["refusal"]), (&"refused".into(), &"access".into()));
    assert_eq!((&refused["verdict"], &refused["cause"]), (&"refused".into(), &"access".into()));
    assert!(refused["fix"].as_str().unwrap().contains("192.0.2.1"), "{refused:#}");
    assert_eq!(step(&refused, "access")["allowed"], false);
    assert_eq!((refused["steps"].as_array().unwrap().len(), &refused["reply"]["rcode"]), (1, &"REFUSED".into()));
    let transfer = explain(&server, "name=a.example&type=AXFR");
    assert_eq!((&transfer["outcome"], &transfer["refusal"]), (&"refused".into(), &"query_type".into()));
    server.stop();
}

#[test]
fn upstreams_and_cache_without_a_query_or_a_use() {
    let upstream = upstream();
    let server = start(&upstream);
    for (query, name) in [("name=n.test", "n.test"), ("name=outward.example", "elsewhere.test")] {
        let before = explain(&server, query);
        assert_eq!((&before["outcome"], &before["ask"]["name"]), (&"forwarded".into(), &name.into()), "{before:#}");
        assert_eq!(step(&before, "cache")["state"], "absent");
        let rule = step(&before, "rule");
        assert_eq!((&rule["zone"], &rule["rule"]), (&"test".into(), &"forward".into()));
        assert_eq!(rule["upstreams"][0]["upstream"], upstream.address().to_string());
        assert_eq!(rule["upstreams"][0]["state"], "unknown", "{before:#}");
    }
    assert_eq!(upstream.asked(), 0, "nothing is sent");
    let before = server.get("admin", "/cache").json();
    assert_eq!(before["entries"], 0);
    // The upstream's alias leads into the table.
    assert_eq!(ask(server.dns, "n.test"), Some([10, 0, 0, 8]));
    let asked = upstream.asked();
    let mut cached = explain(&server, "name=n.test");
    assert_eq!((&cached["outcome"], &step(&cached, "cache")["state"]), (&"answered".into(), &"fresh".into()));
    assert_eq!(step(&cached, "cache")["ttl_seconds"], 2);
    let alias = step(&cached, "alias");
    assert_eq!((&alias["target"], &alias["responsible"]), (&"x.target.test".into(), &"table".into()));
    assert_eq!(step(&cached, "cut")["target"], "x.target.test");
    let last = cached["reply"]["answer"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["name"], &last["data"]), (&"x.target.test".into(), &"10.0.0.8".into()));
    assert_eq!(step(&cached, "rule")["upstreams"][0]["state"], "up");
    upstream.be_silent(true);
    let end = Instant::now() + SOON;
    // Looked at many times while it ends: a use would have it asked again before.
    while step(&cached, "cache")["state"] == "fresh" {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(20));
        cached = explain(&server, "name=n.test");
    }
    let cache = step(&cached, "cache");
    assert_eq!((&cached["outcome"], &cache["state"]), (&"forwarded".into(), &"expired".into()));
    assert!(cache["age_seconds"].as_u64() >= Some(2) && cache["stale_seconds_left"].as_u64() > Some(80_000), "{cache}");
    assert_eq!(upstream.asked(), asked, "nothing was asked meanwhile");
    server.stop();
}

#[test]
fn what_is_responsible_for_each_name_of_an_upstreams_chain() {
    let (upstream, other) = (upstream(), upstream());
    for (zone, to, responsible) in [
        ("target.test", &other, "rule"),
        ("example", &other, "same_upstreams"),
        ("target.test", &upstream, "same_upstreams"),
    ] {
        let text = format!(
            "[[forward]]\nzone = \".\"\nupstreams = [\"{}\"]\n\n[[forward]]\nzone = \"{zone}\"\nupstreams = [\"{}\"]\n",
            upstream.address(),
            to.address()
        );
        let dir = Arc::new(Scratch::new());
        dir.write("records/r.toml", "record = []");
        dir.write("pldns.toml", &settings(&text));
        let server = Server::start_in(dir, |_| {});
        let _ = ask(server.dns, "n.test");
        let cached = explain(&server, "name=n.test");
        let alias = step(&cached, "alias");
        assert_eq!((&alias["target"], &alias["responsible"]), (&"x.target.test".into(), &responsible.into()));
        let rules: Vec<_> = cached["steps"].as_array().unwrap().iter().filter(|step| step["step"] == "rule").collect();
        if responsible == "rule" {
            assert_eq!((&alias["zone"], &step(&cached, "cut")["target"]), (&zone.into(), &"x.target.test".into()));
            assert_eq!(alias["upstreams"][0]["upstream"], other.address().to_string());
            assert_eq!((rules.len(), &rules[1]["name"]), (2, &"x.target.test".into()));
        } else {
            assert_eq!((rules.len(), &cached["outcome"]), (1, &"answered".into()));
        }
        server.stop();
    }
}

#[test]
fn upstreams_are_asked_only_where_that_is_wanted() {
    let upstream = upstream();
    let server = start(&upstream);
    let asked = explain(&server, "name=n.test&ask=true");
    assert_eq!((&asked["verdict"], &asked["source"]), (&"private".into(), &"wildcard".into()), "{asked:#}");
    let sent = step(&asked, "upstream");
    assert_eq!((&sent["upstream"], &sent["rcode"]), (&upstream.address().to_string().into(), &"NOERROR".into()));
    assert_eq!(step(&asked, "cut")["target"], "x.target.test");
    assert_eq!(asked["chain"][0]["target"], "x.target.test");
    assert!(asked["chain"][0]["by"].as_str().unwrap().contains("rule test"), "{asked:#}");
    assert_eq!((upstream.asked(), &server.get("admin", "/cache").json()["entries"]), (1, &0.into()), "nothing is kept");
    server.stop();
}

#[test]
fn records_name_their_file_and_line_and_hidden_ones_their_networks() {
    let upstream = upstream();
    let server = start(&upstream);
    let found = explain(&server, "name=my-end.label.example");
    let table = step(&found, "table");
    assert!(table["file"].as_str().unwrap().ends_with("records/r.toml"), "{table}");
    assert_eq!(table["line"], 5, "the record's own line");
    assert!(found["reason"].as_str().unwrap().contains("r.toml:5"), "{found:#}");
    let hidden = explain(&server, "name=only.example&client=10.9.9.9");
    let table = step(&hidden, "table");
    assert_eq!((&table["found"], &table["hidden"][0]["networks"][0]), (&"other_views".into(), &"127.0.0.0/8".into()));
    assert_eq!((&table["hidden"][0]["line"], &table["hidden"][0]["type"]), (&13.into(), &"A".into()), "{table}");
    server.stop();
}

#[test]
fn a_rejected_reload_is_named() {
    let upstream = upstream();
    let server = start(&upstream);
    assert_eq!(explain(&server, "name=a.example")["reload"], Value::Null);
    server.dir.write("records/broken.toml", "[[record]]\nname = \"new.example\"\n");
    assert_eq!(server.post("/reload").status, 422);
    let explanation = explain(&server, "name=new.example");
    let problem = explanation["reload"]["problem"].as_str().unwrap();
    assert!(problem.contains("broken.toml"), "{problem}");
    server.stop();
}

#[test]
fn text_is_for_clients_that_ask_for_it() {
    let upstream = upstream();
    let server = start(&upstream);
    let address = server.address("admin");
    let text = request(address, "GET", "/explain?name=viewed.example", &["Accept: text/plain"]);
    assert!(text.head.contains("text/plain"), "{text:?}");
    assert!(text.body.starts_with("viewed.example A: private\n  viewed.example. "), "{text:?}");
    assert!(text.body.lines().all(|line| line.chars().count() <= 80), "{}", text.body);
    for accept in ["Accept: */*", "Accept: application/json", "Accept: text/html, application/json"] {
        assert_eq!(request(address, "GET", "/explain?name=a.example", &[accept]).json()["name"], "a.example");
    }
    server.stop();
}

/// What `pldns explain` prints with these arguments, as JSON.
#[track_caller]
fn command(server: &Server, args: &[&str]) -> Value {
    let url = format!("http://{}", server.address("admin"));
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_pldns"));
    command.args(["explain", "--json", "--server", &url, "-c"]).arg(server.dir.path().join("pldns.toml"));
    let output = command.args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_command_lets_a_running_server_ask() {
    let upstream = upstream();
    let server = start(&upstream);
    let viewed = command(&server, &["viewed.example", "--client", "10.9.9.9"]);
    assert_eq!(
        (&viewed["answer"][0], &viewed["verdict"]),
        (&"viewed.example. 10 IN A 10.0.0.6".into(), &"private".into())
    );
    let asked = command(&server, &["n.test"]);
    assert_eq!((&asked["source"], upstream.asked()), (&"wildcard".into(), 1), "{asked:#}");
    assert_eq!(step(&asked, "upstream")["upstream"], upstream.address().to_string());
    server.stop();
}

#[test]
fn the_command_carries_the_token_of_the_settings() {
    let dir = Arc::new(Scratch::new());
    dir.write("records/r.toml", RECORDS);
    dir.write("token", "secret-token-of-a-test\n");
    dir.write("pldns.toml", &settings("[admin]\ntoken_file = \"token\"\n"));
    let server = Server::start_in(dir, |_| {});
    assert_eq!(get(&server, "name=a.example").status, 401);
    assert_eq!(command(&server, &["a.example"])["verdict"], "private");
    server.stop();
}

#[test]
fn stale_answers_and_remembered_failures_are_what_clients_get_now() {
    let upstream = upstream();
    let server = start(&upstream);
    assert_eq!(ask(server.dns, "plain.test"), Some([10, 7, 7, 7]));
    upstream.be_silent(true);
    let end = Instant::now() + SOON;
    while step(&explain(&server, "name=plain.test"), "cache")["state"] == "fresh" {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(50));
    }
    let stale = command(&server, &["plain.test"]);
    assert_eq!(
        (&stale["cause"], &stale["source"], &stale["verdict"]),
        (&"stale".into(), &"stale".into(), &"private".into()),
        "{stale:#}"
    );
    assert!(stale["reason"].as_str().unwrap().contains("does not respond"), "{stale:#}");
    upstream.be_silent(false);
    let cause = |_| {
        assert_eq!(ask(server.dns, "fails.test"), None);
        explain(&server, "name=fails.test&ask=true")["cause"].clone()
    };
    assert!((0..5).map(cause).any(|cause| cause == "remembered_failure"));
    server.stop();
}

#[test]
fn what_is_malformed_is_told() {
    let upstream = upstream();
    let server = start(&upstream);
    for (query, problem) in [
        ("", "name"),
        ("name=", "name: "),
        ("name=a..example", "name: "),
        (&format!("name={}", "a".repeat(64)), "name: "),
        ("name=a.example&type=LOUD", "type: "),
        ("name=a.example&client=everybody", "client: "),
        ("name=a.example&clients=10.0.0.1", "clients"),
    ] {
        let reply = get(&server, query);
        assert_eq!(reply.status, 400, "{query}: {reply:?}");
        assert!(reply.json()["error"].as_str().unwrap().contains(problem), "{query}: {reply:?}");
    }
    assert_eq!(explain(&server, "name=a%5C.b.example&type=TXT")["name"], "a\\.b.example");
    server.stop();
}

#[test]
fn a_client_that_never_asked_is_told_apart_from_one_that_did() {
    let upstream = upstream();
    let server = start(&upstream);
    assert!(ask(server.dns, "a.example").is_some());
    let unseen = explain(&server, "name=a.example&client=10.9.9.9");
    assert_eq!((&unseen["verdict"], &unseen["cause"]), (&"private".into(), &"client_not_seen".into()), "{unseen:#}");
    assert_eq!((&step(&unseen, "client")["seen"], &step(&unseen, "client")["minutes"]), (&false.into(), &0.into()));
    // Loopback is whoever explains.
    let here = explain(&server, "name=a.example");
    assert_eq!(here["cause"], "record", "{here:#}");
    assert!(here["steps"].as_array().unwrap().iter().all(|step| step["step"] != "client"), "{here:#}");
    server.stop();
}
