//! What one client can make the server keep.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::server::{RECORDS, SOON, Scratch, Server, ask, client, query, settings};
use crate::common::{FakeAzureDns, Play};

fn metric(server: &Server, name: &str) -> f64 {
    let metrics = server.get("admin", "/metrics").body;
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name} in {metrics}")).parse().unwrap()
}

#[test]
fn a_promise_of_bytes_takes_no_memory() {
    let server = Server::start("");
    let resident = || metric(&server, "process_resident_memory_bytes");
    let before = resident();
    let mut streams: Vec<_> = (0..500).map(|_| TcpStream::connect(server.dns).unwrap()).collect();
    for stream in &mut streams {
        stream.write_all(&[0xff, 0xff, 1]).unwrap();
    }
    // The last is read: so are those before, or all but a few.
    thread::sleep(Duration::from_millis(300));
    assert!(server.get("admin", "/metrics").body.contains("pldns_connections 500"));
    let each = (resident() - before) / 500.0;
    // Not the 65,535 bytes that were promised; a build without optimization takes more than one for release.
    assert!(each < 40_000.0, "{each} bytes a connection");
    server.stop();
}

#[test]
fn a_flood_of_new_names_leaves_the_cache_in_its_bound() {
    const BOUND: f64 = 1_048_576.0;
    const NAMES: u16 = 12_000;
    const AT_ONCE: u16 = 24;
    let upstream = FakeAzureDns::start();
    upstream.otherwise(|name| Play::answers(&[&format!("{name} 3600 IN A 10.0.0.9")]));
    let server = Server::start(&format!("[cache]\nmax_size = \"1MiB\"\n{}", upstream.rule(".")));
    let socket = client(server.dns);
    let (mut largest, mut entries) = (0.0_f64, 0.0_f64);
    for first in (0..NAMES).step_by(AT_ONCE.into()) {
        for id in first..first + AT_ONCE {
            socket.send(&query(id, &format!("a-name-of-the-flood-{id}.example"))).unwrap();
        }
        for _ in 0..AT_ONCE {
            let mut reply = [0; 512];
            let len = socket.recv(&mut reply).unwrap();
            assert_eq!(reply[..len].last_chunk(), Some(&[10, 0, 0, 9]));
        }
        assert_eq!(ask(server.dns, "used.example"), Some([10, 0, 0, 9]));
        if first % 1200 == 0 {
            largest = largest.max(metric(&server, "pldns_cache_bytes"));
            entries = entries.max(metric(&server, "pldns_cache_entries"));
        }
    }
    assert!(largest <= BOUND && largest > BOUND / 2.0, "{largest} bytes");
    assert!(entries < f64::from(NAMES) / 2.0, "{entries} of {NAMES} names: no flood for this bound");
    assert_eq!(upstream.seen("used.example A").len(), 1, "what is in use stays");
    server.stop();
}

#[test]
fn a_long_message_is_a_message() {
    let server = Server::start("");
    let mut stream = TcpStream::connect(server.dns).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut long = query(7, "a.example");
    long.resize(60_000, 0);
    for message in [long, query(8, "a.example")] {
        stream.write_all(&(message.len() as u16).to_be_bytes()).unwrap();
        for piece in message.chunks(7_000) {
            stream.write_all(piece).unwrap();
        }
    }
    let mut reply = || {
        let mut len = [0; 2];
        stream.read_exact(&mut len).unwrap();
        let mut reply = vec![0; usize::from(u16::from_be_bytes(len))];
        stream.read_exact(&mut reply).unwrap();
        reply
    };
    let refused = reply();
    assert_eq!((&refused[..2], refused[3] & 15), (&[0, 7][..], 1), "bytes behind the question: FORMERR");
    let answered = reply();
    assert_eq!((&answered[..2], &answered[answered.len() - 4..]), (&[0, 8][..], &[10, 0, 0, 1][..]));
    server.stop();
}

#[test]
fn a_thousand_problems_are_a_page_all_the_same() {
    let mut server = Server::start("");
    let mut broken = String::new();
    for number in 0..1000 {
        write!(broken, "[[record]]\nname = \"n{number}.example\"\ntype = \"A\"\ndata = \"10.0.0.999\"\n").unwrap();
    }
    server.dir.write("records/r.toml", &broken);
    server.wait_for("reload rejected");
    let reload = &server.get("admin", "/readyz").json()["reload"];
    assert_eq!((reload["problems"].as_array().unwrap().len(), reload["problem_count"].as_u64()), (100, Some(1000)));
    assert!(server.get("admin", "/metrics").body.contains("pldns_reload_problems 1000"));
    server.stop();
}

#[test]
fn a_page_of_records_ends_in_time() {
    let dir = Arc::new(Scratch::new());
    let mut records = RECORDS.to_owned();
    let text = "x".repeat(250);
    for number in 0..40 {
        let many: Vec<_> = (0..60).map(|piece| format!("'\"{piece}{text}\"'")).collect();
        write!(records, "[[record]]\nname = \"t{number}.example\"\ntype = \"TXT\"\ndata = [{}]\n", many.join(", "))
            .unwrap();
    }
    dir.write("records/r.toml", &records);
    dir.write("pldns.toml", &settings(""));
    let server = Server::start_in(dir, |_| {});
    let (mut offset, mut pages) = (0, 0);
    loop {
        let reply = server.get("admin", &format!("/records?offset={offset}"));
        assert!(reply.body.len() < 400_000, "{}", reply.body.len());
        let sets = reply.json()["sets"].as_array().unwrap().len();
        if sets == 0 {
            break;
        }
        (offset, pages) = (offset + sets, pages + 1);
    }
    assert_eq!(offset, 41);
    assert!(pages > 1, "{pages}");
    server.stop();
}

#[test]
fn the_bound_is_printed_part_by_part() {
    let dir = Scratch::new();
    dir.write("records/r.toml", RECORDS);
    dir.write("pldns.toml", &settings("[cache]\nmax_size = \"33MiB\"\n"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_pldns"));
    let output = command.args(["check", "-c"]).arg(dir.path().join("pldns.toml")).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let mebi = |line: &str| line.rsplit(": ").next()?.strip_suffix(" MiB")?.parse::<u64>().ok();
    let lines = said.lines().skip_while(|line| !line.starts_with("memory:"));
    let total: u64 = said
        .lines()
        .find_map(|line| line.strip_prefix("memory:")?.trim().split(' ').next()?.parse().ok())
        .unwrap_or_else(|| panic!("{said}"));
    let parts: Vec<u64> = lines.skip(1).filter_map(mebi).collect();
    assert!(said.contains("cache: 33 MiB"), "{said}");
    assert!(parts.len() >= 12, "{said}");
    // Each is rounded up by itself.
    let sum: u64 = parts.iter().sum();
    assert!(sum >= total && sum < total + parts.len() as u64, "{sum} and {total} in {said}");
}

#[test]
fn a_process_with_little_memory_keeps_less_and_goes_on_fitting_as_the_table_grows() {
    const LIMIT: f64 = 256.0 * 1_048_576.0;
    let process = "[process]\nworkers = 2\nmax_memory = \"256MiB\"\n";
    let server = Server::start(process);
    let mut command = Command::new(env!("CARGO_BIN_EXE_pldns"));
    let checked = command.args(["check", "-c"]).arg(server.dir.path().join("pldns.toml")).output().unwrap();
    let said = String::from_utf8(checked.stdout).unwrap();
    let connections = said.lines().find_map(|line| line.split_once(" connections of clients")?.0.trim().parse().ok());
    let connections: usize = connections.unwrap_or_else(|| panic!("{said}"));
    assert!(connections < 2000, "{said}");
    assert!(metric(&server, "pldns_memory_bound_bytes") <= LIMIT);
    // No more connections than it said.
    let streams: Vec<_> = (0..connections + 10).map(|_| TcpStream::connect(server.dns).unwrap()).collect();
    assert!(metric(&server, "pldns_connections") <= connections as f64);
    drop(streams);
    // A larger table leaves less for what waits.
    let mut records = RECORDS.to_owned();
    for number in 0..2000 {
        write!(records, "[[record]]\nname = \"n{number}.example\"\ntype = \"A\"\ndata = \"10.1.0.5\"\n").unwrap();
    }
    let before = metric(&server, "pldns_memory_bound_bytes");
    server.dir.write("records/r.toml", &records);
    assert_eq!(server.post("/reload").status, 200);
    assert_eq!(server.get("admin", "/readyz").json()["reload"]["records"], 2001);
    let bound = metric(&server, "pldns_memory_bound_bytes");
    assert!(bound <= LIMIT && (bound - before).abs() < 1_048_576.0, "{bound}, {before} before");
    server.stop();
}
