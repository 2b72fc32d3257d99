//! The log: level, samples, and a reader that does not read.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::server::{RECORDS, SOON, Scratch, Server, ask, ask_until, named_port, request, settings};
use crate::common::{Answer, FakeAzureDns};

#[test]
fn a_signal_turns_debug_on_and_off() {
    let mut server = Server::start("");
    server.signal(10);
    assert_eq!(server.wait_for("log level changed")["debugging"], true);
    server.signal(10);
    assert_eq!(server.wait_for("log level changed")["debugging"], false);
    server.stop();
}

#[test]
fn the_level_of_the_settings_and_of_a_request() {
    let dir = Arc::new(Scratch::new());
    dir.write("records/r.toml", RECORDS);
    dir.write("pldns.toml", &settings("[log]\nlevel = \"trace\"\n"));
    let server = Server::start_in(dir, |_| {});
    assert_eq!(ask(server.dns, "a.example"), Some([10, 0, 0, 1]));
    let admin = server.address("admin");
    assert_eq!(request(admin, "POST", "/log?level=loud", &["X-Pldns: 1"]).status, 400);
    assert_eq!(request(admin, "POST", "/log?level=error", &["X-Pldns: 1"]).status, 200);
    assert_eq!(server.post("/reload").status, 200);
    std::thread::sleep(Duration::from_millis(200));
    // What was said before may be written after.
    let events = server.events();
    assert!(!events.iter().any(|event| event["message"] == "reloaded"), "a reload is no error: {events:#?}");
    assert!(events.iter().any(|event| event["message"] == "ready"));
}

#[test]
fn queries_are_logged_by_sample_alone() {
    let count = |queries: &str| {
        let server = Server::start(&format!("[log]\nqueries = \"{queries}\"\n"));
        for _ in 0..100 {
            assert_eq!(ask(server.dns, "a.example"), Some([10, 0, 0, 1]));
        }
        let mut server = server;
        server.signal(15);
        server.wait_for("stopped");
        assert!(server.wait_exit().success());
        let events = server.events();
        let lines: Vec<_> = events.iter().filter(|event| event["message"] == "query").cloned().collect();
        for line in &lines {
            assert_eq!(
                (&line["name"], &line["rtype"], &line["outcome"], &line["transport"], &line["client"]),
                (&"a.example".into(), &"A".into(), &"record".into(), &"udp".into(), &"127.0.0.1".into())
            );
            assert_eq!((&line["rcode"], line.get("rule")), (&"NOERROR".into(), None), "{line}");
            assert!(line["duration_us"].is_u64(), "{line}");
        }
        lines.len()
    };
    assert_eq!(count(""), 0);
    assert_eq!(count("1/1"), 100);
    let tenth = count("1/10");
    assert!((5..=15).contains(&tenth), "{tenth} of 100");
}

/// Settings of a server that logs every query, where it answers, and where its admin page is.
fn talkative() -> (Scratch, SocketAddr, SocketAddr) {
    let dir = Scratch::new();
    dir.write("records/r.toml", RECORDS);
    let port = SocketAddr::from(([127, 0, 0, 1], named_port()));
    let admin = SocketAddr::from(([127, 0, 0, 1], named_port()));
    let listen =
        format!("[listen]\ndns = [\"{port}\"]\nadmin = \"{admin}\"\ndrain = \"0s\"\n[log]\nqueries = \"1/1\"\n");
    dir.write("pldns.toml", &settings(&listen));
    (dir, port, admin)
}

#[test]
fn a_pipe_without_a_reader_blocks_no_query() {
    let (dir, port, admin) = talkative();
    let mut child = Command::new(env!("CARGO_BIN_EXE_pldns"))
        .args(["serve", "-c"])
        .arg(dir.path().join("pldns.toml"))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    ask_until(port, "a.example", [10, 0, 0, 1]);
    let lost = || {
        let text = request(admin, "GET", "/metrics", &[]).body;
        let line = text.lines().find_map(|line| line.strip_prefix("pldns_log_lines_dropped_total "));
        line.unwrap().parse::<u64>().unwrap()
    };
    let end = Instant::now() + SOON * 3;
    while lost() == 0 {
        for _ in 0..500 {
            assert_eq!(ask(port, "a.example"), Some([10, 0, 0, 1]));
        }
        assert!(Instant::now() < end, "no line is lost");
    }
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    while child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < end, "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_full_disk_stops_nothing() {
    let (dir, port, admin) = talkative();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_pldns"))
        .args(["serve", "-c"])
        .arg(dir.path().join("pldns.toml"))
        .stderr(full)
        .spawn()
        .unwrap();
    ask_until(port, "a.example", [10, 0, 0, 1]);
    for _ in 0..1000 {
        assert_eq!(ask(port, "a.example"), Some([10, 0, 0, 1]));
    }
    let metrics = request(admin, "GET", "/metrics", &[]).body;
    let lost = metrics.lines().find_map(|line| line.strip_prefix("pldns_log_lines_dropped_total "));
    let lost = lost.unwrap().parse::<u64>().unwrap();
    // Each line is lost once; a report of that, which cannot be written either, is none of them.
    assert!((500..2_000).contains(&lost), "{lost}");
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    assert!(child.wait().unwrap().success());
}

#[test]
fn what_is_wrong_at_the_start_is_text_and_what_is_risky_is_said_in_fields() {
    let dir = Scratch::new();
    dir.write("records/r.toml", RECORDS);
    let run = |text: &str| {
        dir.write("pldns.toml", text);
        let mut pldns = Command::new(env!("CARGO_BIN_EXE_pldns"));
        let ran = pldns.args(["serve", "-c"]).arg(dir.path().join("pldns.toml")).output().unwrap();
        assert_eq!(ran.status.code(), Some(1));
        String::from_utf8(ran.stderr).unwrap()
    };
    let said = run("[log]\nformat = \"json\"\nlevel = \"loud\"\n");
    assert!(said.contains("pldns.toml:3:9: error: `level` must be one of"), "{said}");
    assert!(said.contains("\n  | level = \"loud\"\n  |         ^^^^^^\n"), "{said}");
    assert!(said.ends_with("pldns.toml: 1 error, 0 warnings\n"), "{said}");
    let more = "[records]\nfiles = [\"records/*.toml\", \"records/*.none\"]\nwatch = \"0s\"\n";
    let mut server = Server::start(more);
    let version = server.events().iter().find(|event| event["message"] == "pldns starting").cloned().unwrap();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    assert!(version["settings"].as_str().unwrap().ends_with("pldns.toml"));
    server.signal(1);
    let warning = server.wait_for("no file matches \"records/*.none\"");
    assert!(warning["place"].as_str().unwrap().ends_with("pldns.toml:7:28"), "{warning}");
    assert_eq!(warning["hint"], "globs are relative to the directory of this file");
    server.stop();
}

#[test]
fn a_file_gets_no_colours_and_no_lines_of_libraries() {
    let (dir, port, admin) = talkative();
    let settings = std::fs::read_to_string(dir.path().join("pldns.toml")).unwrap();
    let log = "[log]\nformat = \"text\"\nlevel = \"trace\"\n";
    dir.write("pldns.toml", &settings.replace("[log]\n", log));
    let path = dir.path().join("log");
    let mut child = Command::new(env!("CARGO_BIN_EXE_pldns"))
        .args(["serve", "-c"])
        .arg(dir.path().join("pldns.toml"))
        .stderr(std::fs::File::create(&path).unwrap())
        .spawn()
        .unwrap();
    ask_until(port, "a.example", [10, 0, 0, 1]);
    assert_eq!(request(admin, "GET", "/healthz", &[]).status, 200);
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    assert!(child.wait().unwrap().success());
    let said = std::fs::read_to_string(path).unwrap();
    assert!(said.contains("ready") && said.contains("stopped"), "{said}");
    assert!(!said.contains('\u{1b}'), "{said:?}");
    for library in ["mio", "tokio", "registering event source", "/registry/"] {
        assert!(!said.contains(library), "{library}: {said}");
    }
}

#[test]
fn debug_shows_rule_upstream_attempt_and_reason_of_each_query() {
    let upstream = FakeAzureDns::start();
    upstream.gives("x.corp.example A", Answer::of(&[]).rcode("REFUSED"));
    let rule = upstream.rule("corp.example");
    let quiet = Server::start(&rule);
    assert_eq!(ask(quiet.dns, "x.corp.example"), None);
    assert!(!quiet.events().iter().any(|event| event["level"] == "DEBUG" || event["message"] == "query"));
    quiet.stop();
    let mut server = Server::start(&format!("{rule}[log]\nlevel = \"debug\"\n"));
    assert_eq!(ask(server.dns, "x.corp.example"), None);
    let sent = server.wait_for("upstream query");
    // The look at the upstreams at the start is none of a client's.
    assert_eq!((&sent["name"], &sent["rtype"], &sent["attempt"]), (&"x.corp.example".into(), &"A".into(), &1.into()));
    assert_eq!(sent["upstream"], upstream.address().to_string());
    let response = server.wait_for("upstream response");
    assert_eq!((&response["rcode"], &response["attempt"]), (&"REFUSED".into(), &1.into()));
    let query = server.wait_for("query");
    assert_eq!((&query["level"], &query["name"]), (&"DEBUG".into(), &"x.corp.example".into()));
    assert_eq!((&query["rule"], &query["outcome"]), (&"corp.example".into(), &"upstream".into()), "{query}");
    assert_eq!(query["rcode"], "REFUSED");
    server.stop();
}
