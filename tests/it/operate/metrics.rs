//! What is counted, and how it is written.

use std::collections::HashMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::server::{SOON, Server, ask, client, query, request};

fn values(text: &str) -> HashMap<&str, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name, value.parse().unwrap())
        })
        .collect()
}

fn sum(values: &HashMap<&str, f64>, family: &str) -> f64 {
    values.iter().filter(|(name, _)| name.starts_with(family)).map(|(_, value)| value).sum()
}

#[test]
fn every_query_is_in_the_sums() {
    let server = Server::start("[access]\nallow = [\"127.0.0.1/32\"]\n");
    for _ in 0..5 {
        assert_eq!(ask(server.dns, "a.example"), Some([10, 0, 0, 1]));
    }
    ask(server.dns, "localhost");
    ask(server.dns, "forwarded.example");
    let socket = client(server.dns);
    socket.send(&[1, 2, 3]).unwrap();
    let mut malformed = query(1, "a.example");
    malformed.truncate(20);
    socket.send(&malformed).unwrap();
    socket.recv(&mut [0; 512]).unwrap();
    let stranger = std::net::UdpSocket::bind("127.0.0.2:0").unwrap();
    stranger.connect(server.dns).unwrap();
    stranger.send(&query(1, "a.example")).unwrap();
    stranger.recv(&mut [0; 512]).unwrap();
    // A reply is on its way a moment before it is counted.
    let end = Instant::now() + SOON;
    let text = loop {
        let text = server.get("admin", "/metrics").body;
        let values = values(&text);
        let total = |name: &str| sum(&values, &format!("pldns_queries_{name}_total"));
        if total("answered") + total("refused") + total("dropped") == 10.0 {
            break text;
        }
        assert!(Instant::now() < end, "{text}");
    };
    let values = values(&text);
    let total = |name: &str| sum(&values, &format!("pldns_queries_{name}_total"));
    assert_eq!(total("received"), 10.0, "{text}");
    assert_eq!(total("by_type"), 10.0);
    assert_eq!(total("received"), total("answered") + total("refused") + total("dropped"), "{text}");
    assert_eq!(values["pldns_queries_answered_total{source=\"record\"}"], 5.0);
    assert_eq!(values["pldns_queries_refused_total{reason=\"access\"}"], 1.0);
    assert_eq!(values["pldns_queries_dropped_total{reason=\"short\"}"], 1.0);
    assert_eq!(values["pldns_queries_by_type_total{type=\"A\"}"], 8.0);
    assert_eq!(values["pldns_answer_duration_seconds_count{path=\"records\"}"], 6.0);
    assert_eq!(values["pldns_answer_duration_seconds_count{path=\"forwarded\"}"], 1.0);
    assert_eq!(values["pldns_answer_duration_seconds_bucket{le=\"+Inf\",path=\"forwarded\"}"], 1.0);
    assert!(values["pldns_forward_queries_sent_total"] >= 1.0);
    assert_eq!(values["pldns_table_records"], 1.0);
    assert!(values["process_resident_memory_bytes"] < values["pldns_memory_bound_bytes"]);
    assert!(!text.contains("example"), "no name that was asked is in a label");
    server.stop();
}

#[test]
fn both_text_formats() {
    let server = Server::start("");
    let admin = server.address("admin");
    let older = request(admin, "GET", "/metrics", &["Accept: text/plain"]);
    assert!(older.head.contains("content-type: text/plain; version=0.0.4"), "{}", older.head);
    let newer = request(admin, "GET", "/metrics", &["Accept: application/openmetrics-text; version=1.0.0"]);
    assert!(newer.head.contains("content-type: application/openmetrics-text"), "{}", newer.head);
    assert!(newer.body.ends_with("# EOF\n"));
    for (text, counter) in [(&older.body, "pldns_reloads_total"), (&newer.body, "pldns_reloads")] {
        assert!(text.contains(&format!("# TYPE {counter} counter\n")), "{text}");
    }
    conventions(&older.body);
    promtool(&older.body);
    server.stop();
}

/// Every sample belongs to a family that was described before it, and names end in their unit.
#[track_caller]
fn conventions(text: &str) {
    let mut kinds = HashMap::new();
    let mut helped = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", "HELP", name, _] => helped.push(name),
            ["#", "TYPE", name, kind] => {
                assert!(helped.contains(&name), "{name} has no help");
                assert!(kinds.insert(name, kind).is_none(), "{name} is described twice");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
                assert!(name.starts_with("pldns_") || name.starts_with("process_"), "{name}");
                assert!(!name.contains("milli") && !name.contains("octets"), "{name}: base units");
            }
            _ => {
                let name = line.split(['{', ' ']).next().unwrap();
                let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
                assert!(kinds.contains_key(name) || base.is_some_and(|base| kinds[base] == "histogram"), "{line}");
            }
        }
    }
    assert!(kinds.len() > 25, "{kinds:?}");
}

/// The judge of the format's own makers, where it is installed.
#[track_caller]
fn promtool(text: &str) {
    let child =
        Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut child) = child else {
        eprintln!("promtool is not installed: its check is left out");
        return;
    };
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let judged = child.wait_with_output().unwrap();
    assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stderr));
}

/// Dashboard and alert rules speak of metrics that exist.
#[test]
fn dashboard_and_alerts_use_metrics_that_there_are() {
    let server = Server::start("");
    ask(server.dns, "forwarded.example");
    let text = server.get("admin", "/metrics").body;
    let described: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/grafana");
    let mut used = 0;
    for file in ["dashboard.json", "alerts.yaml"] {
        let file = std::fs::read_to_string(root.join(file)).unwrap();
        for word in file.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_') {
            if word.starts_with("pldns_") || word.starts_with("process_") {
                let name = word.strip_suffix("_bucket").unwrap_or(word);
                assert!(described.contains(&name), "{name} is no metric");
                used += 1;
            }
        }
    }
    assert!(used > 20, "{used}");
    let rules = Command::new("promtool").args(["check", "rules"]).arg(root.join("alerts.yaml")).output();
    match rules {
        Ok(judged) => assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stderr)),
        Err(_) => eprintln!("promtool is not installed: its check is left out"),
    }
    server.stop();
}

#[test]
fn every_alert_names_the_command_that_explains_it_and_the_guard_has_panels() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/grafana");
    let alerts = std::fs::read_to_string(root.join("alerts.yaml")).unwrap();
    let commands = ["pldns", "curl", "journalctl", "systemctl", "openssl"];
    let routes = privatelink_dns::admin::ROUTES.map(|(_, path, _)| path);
    let all: Vec<&str> = alerts.split("- alert: ").skip(1).collect();
    assert!(all.len() >= 20, "{}", all.len());
    for alert in all {
        let (name, rule) = alert.split_once('\n').unwrap();
        let (_, description) = rule.split_once("description: ").unwrap_or_else(|| panic!("{name} has no description"));
        let quoted: Vec<&str> = description.split('`').skip(1).step_by(2).collect();
        let names_one =
            quoted.iter().any(|text| commands.contains(&text.split_whitespace().next().unwrap_or_default()));
        assert!(names_one, "{name} names no command: {description}");
        for text in quoted {
            let words: Vec<&str> = text.split_whitespace().collect();
            if let [_, url, ..] = &words[..]
                && let Some((_, path)) = url.split_once('/').filter(|_| words[0] == "curl")
            {
                assert!(routes.contains(&&*format!("/{path}")), "{name}: {text}");
            }
            if words[0] == "pldns" {
                let help = Command::new(env!("CARGO_BIN_EXE_pldns")).args([words[1], "--help"]).output().unwrap();
                let help = String::from_utf8(help.stdout).unwrap();
                assert!(words[2..].iter().all(|word| !word.starts_with("--") || help.contains(word)), "{name}: {text}");
                assert!(help.contains("Usage: pldns"), "{name}: {text}");
            }
        }
    }
    let dashboard = std::fs::read_to_string(root.join("dashboard.json")).unwrap();
    for metric in ["pldns_public_answers_total", "pldns_public_fallback_total", "pldns_shadowed_total"] {
        assert!(dashboard.contains(metric), "{metric}");
    }
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let places: std::collections::BTreeSet<String> = panels.iter().map(|panel| panel["gridPos"].to_string()).collect();
    let ids: std::collections::BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!((places.len(), ids.len()), (panels.len(), panels.len()), "no two panels in one place");
}

#[test]
fn the_operations_page_lists_every_metric() {
    let server = Server::start("");
    ask(server.dns, "forwarded.example");
    let text = server.get("admin", "/metrics").body;
    let described: std::collections::BTreeSet<_> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md")).unwrap();
    let section = page.split("\n## Metrics\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let cells = section.lines().filter(|line| line.starts_with("| `")).filter_map(|line| line.split('|').nth(1));
    let listed = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    assert_eq!(described, listed);
    server.stop();
}
