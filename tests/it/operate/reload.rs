//! Reloads: by change of content, signal and request; broken ones; listeners that come and go; nothing lost.

use std::fs;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::server::{AtTheEnd, RECORDS, SOON, Scratch, Server, ask, ask_until, client, named_port, query, settings};

fn record(address: &str) -> String {
    format!("[[record]]\nname = \"a.example\"\ntype = \"A\"\ndata = \"{address}\"\n")
}

#[test]
fn a_change_of_content_is_found() {
    let server = Server::start("");
    server.dir.write("records/r.toml", &record("10.0.0.2"));
    ask_until(server.dns, "a.example", [10, 0, 0, 2]);
    fs::write(server.dir.path().join("records/more.toml"), record("10.0.0.2").replace("a.ex", "b.ex")).unwrap();
    ask_until(server.dns, "b.example", [10, 0, 0, 2]);
    // The same content written again is no change.
    let generation = || server.get("health", "/readyz").json()["reload"]["generation"].clone();
    let before = generation();
    server.dir.write("records/r.toml", &record("10.0.0.2"));
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(generation(), before);
    server.stop();
}

#[test]
fn swapped_links_of_a_config_map_are_found() {
    let dir = Arc::new(Scratch::new());
    let place = dir.path().to_owned();
    for (version, address) in [("..v1", "10.0.0.1"), ("..v2", "10.0.0.2")] {
        fs::create_dir(place.join(version)).unwrap();
        fs::write(place.join(version).join("r.toml"), record(address)).unwrap();
        fs::write(
            place.join(version).join("pldns.toml"),
            settings("[records]\nfiles = [\"r.toml\"]\nwatch = \"100ms\"\n"),
        )
        .unwrap();
    }
    symlink("..v1", place.join("..data")).unwrap();
    symlink("..data/r.toml", place.join("r.toml")).unwrap();
    symlink("..data/pldns.toml", place.join("pldns.toml")).unwrap();
    let server = Server::start_in(dir, |_| {});
    assert_eq!(ask(server.dns, "a.example"), Some([10, 0, 0, 1]));
    symlink("..v2", place.join("..new")).unwrap();
    fs::rename(place.join("..new"), place.join("..data")).unwrap();
    ask_until(server.dns, "a.example", [10, 0, 0, 2]);
    server.stop();
}

#[test]
fn what_is_broken_keeps_the_old_serving_and_ready() {
    let mut server = Server::start("");
    server.dir.write("records/r.toml", "[[record]]\nname = \"a.example\"\ntype = \"A\"\ndata = \"10.0.0.999\"\n");
    let event = server.wait_for("reload rejected");
    assert_eq!(event["level"], "ERROR");
    let ready = server.get("admin", "/readyz");
    assert_eq!(ready.status, 200, "one bad file must not take all replicas out");
    let reload = &ready.json()["reload"];
    assert_eq!((&reload["state"], &reload["generation"]), (&"rejected".into(), &0.into()));
    assert!(reload["problems"][0].as_str().unwrap().contains("r.toml:4:"), "{reload}");
    let metrics = server.get("admin", "/metrics").body;
    assert!(metrics.contains("pldns_reload_last_accepted 0"), "{metrics}");
    assert!(metrics.contains("pldns_reloads_total{outcome=\"rejected\"} 1"), "{metrics}");
    assert_eq!(ask(server.dns, "a.example"), Some([10, 0, 0, 1]));
    // It is said once, not at every look.
    std::thread::sleep(Duration::from_millis(500));
    let said = server
        .events()
        .iter()
        .filter(|event| event["message"].as_str().unwrap_or_default().starts_with("reload rejected"))
        .count();
    assert_eq!(said, 1);
    let refused = server.post("/reload");
    assert_eq!(refused.status, 422);
    assert_eq!(refused.json()["accepted"], false);
    server.dir.write("records/r.toml", &record("10.0.0.3"));
    ask_until(server.dns, "a.example", [10, 0, 0, 3]);
    assert_eq!(server.get("health", "/readyz").json()["reload"]["state"], "ok");
    server.stop();
}

#[test]
fn a_reload_never_empties_the_table_unless_the_settings_allow_it() {
    let mut server = Server::start("[records]\nfiles = [\"records/*.toml\"]\nwatch = \"0s\"\n");
    let records = server.dir.path().join("records");
    let off = server.dir.path().join("records.off");
    let dir = server.dir.clone();
    let no_records = || drop(dir.write("records/r.toml", "# no records\n"));
    let no_bytes = || drop(dir.write("records/r.toml", ""));
    let no_file = || fs::remove_file(records.join("r.toml")).unwrap();
    let no_directory = || fs::rename(&records, &off).unwrap();
    let cases: [(&dyn Fn(), &str); 4] = [
        (&no_records, "this would remove all 1 records"),
        (&no_bytes, "r.toml: error: the file is empty (zero bytes)"),
        (&no_file, "this would remove all 1 records"),
        (&no_directory, "records does not exist"),
    ];
    for (count, (empty, said)) in (1..).zip(cases) {
        empty();
        let reply = server.post("/reload");
        assert_eq!(reply.status, 422, "{said}");
        assert!(reply.body.contains(said), "{said}: {}", reply.body);
        assert_eq!(ask(server.dns, "a.example"), Some([10, 0, 0, 1]), "{said}");
        let reload = server.get("health", "/readyz").json()["reload"].clone();
        assert_eq!((&reload["state"], &reload["records"]), (&"rejected".into(), &1.into()), "{said}");
        let metrics = server.get("admin", "/metrics").body;
        assert!(metrics.contains("pldns_reload_last_accepted 0"), "{metrics}");
        assert!(metrics.contains(&format!("pldns_reloads_total{{outcome=\"rejected\"}} {count}")), "{metrics}");
    }
    for _ in cases {
        let event = server.wait_for("reload rejected");
        assert_eq!((&event["level"], &event["cause"]), (&"ERROR".into(), &"request".into()));
    }
    fs::rename(&off, &records).unwrap();
    server.dir.write("records/r.toml", "# no records\n");
    let settings = fs::read_to_string(server.dir.path().join("pldns.toml")).unwrap();
    server.dir.write("pldns.toml", &settings.replace("[records]\n", "[records]\nallow_empty = true\n"));
    let reply = server.post("/reload");
    assert_eq!((reply.status, &reply.json()["records"], &reply.json()["removed"]), (200, &0.into(), &1.into()));
    server.stop();
}

#[test]
fn a_reload_says_why_it_ran_and_what_it_changed() {
    let mut server = Server::start("[records]\nfiles = [\"records/*.toml\"]\nwatch = \"0s\"\n");
    let records =
        |names: &[&str]| -> String { names.iter().map(|name| record("10.0.0.1").replace("a.example", name)).collect() };
    let changed = |event: &serde_json::Value| {
        let number = |key: &str| event[key].as_u64().unwrap();
        (event["cause"].as_str().unwrap().to_owned(), number("added"), number("removed"), number("records"))
    };
    server.dir.write("records/r.toml", &records(&["a.example", "b.example", "c.example", "d.example"]));
    server.signal(1);
    assert_eq!(changed(&server.wait_for("reloaded")), ("signal".to_owned(), 3, 0, 4));
    server.dir.write("records/r.toml", &records(&["a.example", "b.example", "x.example"]));
    assert_eq!(server.post("/reload").status, 200);
    assert_eq!(changed(&server.wait_for("reloaded")), ("request".to_owned(), 1, 2, 3));
    assert_eq!(server.get("health", "/readyz").json()["reload"]["problem_count"], 0, "half of them may go");
    // More than half of the records go: a warning, and it serves.
    let settings = fs::read_to_string(server.dir.path().join("pldns.toml")).unwrap();
    server.dir.write("pldns.toml", &settings.replace("watch = \"0s\"", "watch = \"100ms\""));
    server.dir.write("records/r.toml", &records(&["x.example"]));
    server.signal(1);
    let warning = server.wait_for("this removes 2 of the 3 records that were served (+0 −2)");
    assert_eq!(warning["level"], "WARN");
    assert_eq!(changed(&server.wait_for("reloaded")), ("signal".to_owned(), 0, 2, 1));
    let reload = server.get("health", "/readyz").json()["reload"].clone();
    assert_eq!((&reload["state"], &reload["problem_count"]), (&"ok".into(), &1.into()));
    server.dir.write("records/r.toml", &records(&["x.example", "y.example"]));
    assert_eq!(changed(&server.wait_for("reloaded")), ("files".to_owned(), 1, 0, 2));
    server.stop();
}

#[test]
fn signal_and_request_reload_without_a_watch() {
    let mut server = Server::start("[records]\nfiles = [\"records/*.toml\"]\nwatch = \"0s\"\n");
    server.dir.write("records/r.toml", &record("10.0.0.2"));
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(ask(server.dns, "a.example"), Some([10, 0, 0, 1]));
    server.signal(1);
    server.wait_for("reloaded");
    assert_eq!(ask(server.dns, "a.example"), Some([10, 0, 0, 2]));
    server.dir.write("records/r.toml", &record("10.0.0.3"));
    let reply = server.post("/reload");
    assert_eq!((reply.status, reply.json()["generation"].as_u64()), (200, Some(2)));
    assert_eq!(ask(server.dns, "a.example"), Some([10, 0, 0, 3]));
    server.stop();
}

#[test]
fn listeners_come_and_go() {
    let mut server = Server::start("");
    let first = server.dns;
    let new = format!("127.0.0.1:{}", named_port());
    let listen = |dns: &str, health: &str| {
        settings(&format!("[listen]\ndns = [{dns}]\nadmin = \"127.0.0.1:0\"\nhealth = \"{health}\"\ndrain = \"0s\"\n"))
    };
    server.dir.write("pldns.toml", &listen(&format!("\"127.0.0.1:0\", \"{new}\""), "127.0.0.1:0"));
    server.wait_for("reloaded");
    let new = new.parse().unwrap();
    assert_eq!(ask(new, "a.example"), Some([10, 0, 0, 1]));
    assert_eq!(ask(first, "a.example"), Some([10, 0, 0, 1]), "the old one stays");
    let (health, admin) = (server.address("health"), server.address("admin"));
    server.dir.write("pldns.toml", &listen(&format!("\"{new}\""), ""));
    server.wait_for("reloaded");
    assert_eq!(ask(new, "a.example"), Some([10, 0, 0, 1]));
    // Clients are refused: those that only wait do not know that nobody listens.
    let is_refused =
        |outcome: std::io::Result<()>| outcome.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused);
    let connect = |to| TcpStream::connect_timeout(&to, Duration::from_millis(300)).map(drop);
    let end = Instant::now() + SOON;
    while !is_refused(connect(first)) || !is_refused(connect(health)) {
        assert!(Instant::now() < end, "still listening");
    }
    let socket = client(first);
    socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let ask = || socket.send(&query(1, "a.example")).and_then(|_| socket.recv(&mut [0; 512])).map(drop);
    while !is_refused(ask()) {
        assert!(Instant::now() < end, "the datagram socket stays open");
    }
    assert_eq!(super::server::request(admin, "GET", "/healthz", &[]).status, 200);
    server.stop();
}

#[test]
fn an_address_that_is_taken_refuses_the_reload() {
    let mut server = Server::start("");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for listen in [
        format!("[listen]\ndns = [\"127.0.0.1:0\"]\nadmin = \"{address}\"\n"),
        format!("[listen]\ndns = [\"127.0.0.1:0\", \"{address}\"]\nadmin = \"127.0.0.1:0\"\n"),
    ] {
        server.dir.write("pldns.toml", &settings(&listen));
        let event = server.wait_for(&format!("cannot listen on {address}"));
        assert_eq!(event["level"], "ERROR");
        server.wait_for("reload rejected");
        assert_eq!(ask(server.dns, "a.example"), Some([10, 0, 0, 1]));
        assert_eq!(server.get("admin", "/readyz").status, 200);
    }
    server.stop();
}

/// Asks one query after another until told to end; every one must be answered.
pub(crate) fn ask_on(server: std::net::SocketAddr, done: &AtomicBool) -> u64 {
    let socket = client(server);
    let mut asked = 0;
    while !done.load(Ordering::Relaxed) {
        for n in 0..16 {
            socket.send(&query(n, "a.example")).unwrap();
        }
        for _ in 0..16 {
            let mut reply = [0; 512];
            socket.recv(&mut reply).expect("a query is lost");
            assert_eq!(reply[3] & 15, 0, "RCODE");
            asked += 1;
        }
    }
    asked
}

/// Records of a table whose reload takes a while; `benches/endurance` has the full load.
const LARGE: u32 = 20_000;

#[test]
fn reloads_of_a_large_table_lose_nothing() {
    let server = Server::start(
        "[records]\nfiles = [\"records/*.toml\"]\nwatch = \"0s\"\n[process]\nworkers = 2\nmax_memory = \"64GiB\"\n",
    );
    let mut large = RECORDS.to_owned();
    for n in 0..LARGE {
        large += &format!(
            "[[record]]\nname = \"n{n}.example\"\ntype = \"A\"\ndata = \"10.1.{}.{}\"\n",
            n / 250 % 250,
            n % 250
        );
    }
    server.dir.write("records/r.toml", &large);
    let metrics = server.get("admin", "/metrics").body;
    let bound = metrics.lines().find_map(|line| line.strip_prefix("pldns_memory_bound_bytes "));
    let bound_before: f64 = bound.unwrap().parse().unwrap();
    let done = AtomicBool::new(false);
    let asked = std::thread::scope(|scope| {
        let _end = AtTheEnd(&done);
        let askers: Vec<_> = (0..2).map(|_| scope.spawn(|| ask_on(server.dns, &done))).collect();
        for _ in 0..3 {
            assert_eq!(server.post("/reload").status, 200);
        }
        done.store(true, Ordering::Relaxed);
        askers.into_iter().map(|asker| asker.join().unwrap()).sum::<u64>()
    });
    assert_eq!(server.get("admin", "/readyz").json()["reload"]["records"], LARGE + 1);
    // The bound grew with the table.
    let metrics = server.get("admin", "/metrics").body;
    let value =
        |name: &str| metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok()).unwrap();
    assert!(value("process_resident_memory_bytes ") < value("pldns_memory_bound_bytes "));
    assert!(value("pldns_memory_bound_bytes ") > bound_before + f64::from(LARGE) * 1000.0);
    let stopped = server.stop();
    assert_eq!(stopped["answered"].as_u64(), Some(asked));
}

#[test]
fn many_reloads_a_second_lose_nothing() {
    let server = Server::start("[records]\nfiles = [\"records/*.toml\"]\nwatch = \"0s\"\n");
    let done = AtomicBool::new(false);
    let asked = std::thread::scope(|scope| {
        let _end = AtTheEnd(&done);
        let asker = scope.spawn(|| ask_on(server.dns, &done));
        for n in 0..30 {
            server.dir.write("records/r.toml", &record(&format!("10.0.1.{n}")));
            assert_eq!(server.post("/reload").status, 200);
            std::thread::sleep(Duration::from_millis(100));
        }
        done.store(true, Ordering::Relaxed);
        asker.join().unwrap()
    });
    let stopped = server.stop();
    assert_eq!(stopped["answered"].as_u64(), Some(asked));
}
