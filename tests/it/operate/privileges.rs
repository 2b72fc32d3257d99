//! What the process gives up, and what it does without descriptors.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::server::{RECORDS, SOON, Scratch, Server, ask, ask_until, named_port, settings};

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n")
}

/// A line of every thread's status.
fn of_all_threads(server: &Server, key: &str) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", server.child.id())).unwrap();
    tasks
        .map(|task| {
            let text = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
            let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
            line.split_whitespace().collect::<Vec<_>>().join(" ")
        })
        .collect()
}

#[test]
fn it_becomes_the_user_and_keeps_nothing() {
    if !is_root() {
        eprintln!("not root: becoming another user is left out");
        return;
    }
    let dir = Arc::new(Scratch::new());
    dir.write("records/r.toml", RECORDS);
    let port = named_port();
    dir.write(
        "pldns.toml",
        &settings(&format!(
            "[listen]\ndns = [\"127.0.0.1:{port}\"]\nadmin = \"127.0.0.1:0\"\nhealth = \"127.0.0.1:0\"\ndrain = \"0s\"\n\
             [process]\nuser = \"nobody\"\nworkers = 2\n"
        )),
    );
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    chown(dir.path().join("records/r.toml"), Some(0), Some(0)).unwrap();
    let server = Server::start_in(dir, |_| {});
    assert_eq!(ask(server.dns, "a.example"), Some([10, 0, 0, 1]));
    let uids = of_all_threads(&server, "Uid:");
    assert!(uids.len() >= 4, "{uids:?}");
    for uid in uids {
        let ids: Vec<&str> = uid.split(' ').collect();
        assert!(ids.iter().all(|id| *id == ids[0] && *id != "0"), "{uid}");
    }
    for groups in of_all_threads(&server, "Groups:") {
        assert_eq!(groups, "");
    }
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        for capabilities in of_all_threads(&server, set) {
            assert_eq!(capabilities, "0000000000000000", "{set}");
        }
    }
    server.dir.write("records/r.toml", &RECORDS.replace("10.0.0.1", "10.0.0.2"));
    ask_until(server.dns, "a.example", [10, 0, 0, 2]);
    server.stop();
}

#[test]
fn root_keeps_two_capabilities() {
    if !is_root() {
        eprintln!("not root: capabilities are left out");
        return;
    }
    let server = Server::start("");
    // NET_BIND_SERVICE is 10, DAC_READ_SEARCH is 2.
    for set in ["CapPrm:", "CapEff:"] {
        for capabilities in of_all_threads(&server, set) {
            let bits = u64::from_str_radix(&capabilities, 16).unwrap();
            assert_eq!(bits & !(1 << 10 | 1 << 2), 0, "{set} {capabilities}");
        }
    }
    server.stop();
}

#[test]
fn an_unknown_user_is_no_start() {
    let dir = Arc::new(Scratch::new());
    dir.write("records/r.toml", RECORDS);
    dir.write("pldns.toml", &settings("[process]\nuser = \"no-such-user\"\n"));
    for command in ["check", "serve"] {
        let mut pldns = Command::new(env!("CARGO_BIN_EXE_pldns"));
        let ran = pldns.args([command, "-c"]).arg(dir.path().join("pldns.toml")).output().unwrap();
        let said = String::from_utf8(ran.stderr).unwrap();
        assert_eq!(ran.status.code(), Some(1), "{command}: {said}");
        let place = "pldns.toml:7:8: error: cannot become the user \"no-such-user\": /etc/passwd does not have it";
        assert!(said.contains(place), "{command}: {said}");
    }
}

#[test]
fn it_is_confined_to_its_own_files() {
    let outside = Scratch::new();
    outside.write("secret.toml", RECORDS);
    let mut server = Server::start("[log]\nlevel = \"debug\"\n");
    let events = server.events();
    let said = |text: &str| events.iter().any(|event| event["message"].as_str().unwrap_or_default().starts_with(text));
    if said("Landlock not supported") || said("Landlock sandbox disabled") {
        eprintln!("no Landlock: confinement is left out");
        return;
    }
    assert!(said("Landlock sandbox enabled"), "{events:#?}");
    assert!(of_all_threads(&server, "NoNewPrivs:").iter().all(|value| value == "1"));
    let records = format!("[records]\nfiles = [\"{}/secret.toml\"]\nwatch = \"100ms\"\n", outside.path().display());
    server.dir.write("pldns.toml", &settings(&records));
    server.wait_for("reload rejected");
    assert_eq!(ask(server.dns, "a.example"), Some([10, 0, 0, 1]));
    server.stop();
}

#[test]
fn the_limit_of_descriptors_is_raised() {
    let dir = Arc::new(Scratch::new());
    dir.write("records/r.toml", RECORDS);
    dir.write("pldns.toml", &settings(""));
    let server = Server::start_in(dir, |command| limit(command, "300:777"));
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.child.id())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(line.split_whitespace().nth(3), Some("777"), "{line}");
    server.stop();
}

/// Puts `prlimit` in front of the command.
fn limit(command: &mut Command, descriptors: &str) {
    let mut limited = Command::new("prlimit");
    limited.arg(format!("--nofile={descriptors}"));
    limited.arg(command.get_program()).args(command.get_args());
    *command = limited;
}

fn cpu_ticks(server: &Server) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", server.child.id())).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn without_descriptors_it_neither_spins_nor_stops_answering_from_memory() {
    let dir = Arc::new(Scratch::new());
    dir.write("records/r.toml", RECORDS);
    dir.write("pldns.toml", &settings(""));
    let mut server = Server::start_in(dir, |command| limit(command, "64:64"));
    let mut flood = Vec::new();
    for _ in 0..120 {
        flood.push(TcpStream::connect(server.dns).unwrap());
    }
    let event = server.wait_for("accept failed");
    assert_eq!(event["level"], "WARN");
    let before = cpu_ticks(&server);
    let start = Instant::now();
    let mut asked = 0;
    while start.elapsed() < Duration::from_secs(2) {
        assert_eq!(ask(server.dns, "a.example"), Some([10, 0, 0, 1]));
        asked += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
    let used = cpu_ticks(&server) - before;
    assert!(asked > 20 && used < 60, "{used} ticks of 200 for {asked} answers");
    let said = server.events();
    let said = said.iter().filter(|event| event["message"].as_str().unwrap_or_default() == "accept failed").count();
    assert!(said <= 2, "said {said} times");
    drop(flood);
    let end = Instant::now() + SOON;
    while super::server::try_request(server.address("health"), "GET", "/readyz", &[]).is_none() {
        assert!(Instant::now() < end, "no recovery");
    }
    server.stop();
}
