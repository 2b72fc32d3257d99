//! Floods of each kind against the encrypted listeners: others are answered meanwhile, and the memory stays in its bound.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::encrypted::TLS;
use super::flooding::{Course, FLOODS, Flood, Victim};
use super::quic_client;
use super::server::{AtTheEnd, RECORDS, SOON, Scratch, Server, ask, query, settings};
use super::tls_client::Pair;

const LISTEN: &str = "[listen]\ndns = [\"127.0.0.1:0\"]\ntls = [\"127.0.0.1:0\"]\nhttps = [\"127.0.0.1:0\"]\n\
                      quic = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\ndrain = \"0s\"\nconnections = 512\n";

fn metric(server: &Server, name: &str) -> f64 {
    let page = server.get("admin", "/metrics").body;
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name} in {page}")).parse().unwrap()
}

/// Keeps a flood up until it has done `count` things, and asks beside it.
fn under(name: &str, count: u64) {
    let (_, flood): (_, Flood) = FLOODS.into_iter().find(|(known, _)| *known == name).unwrap();
    let (dir, pair) = (Arc::new(Scratch::new()), Pair::new(2090));
    dir.write("records/r.toml", RECORDS);
    pair.write(&dir);
    dir.write("pldns.toml", &settings(&format!("{LISTEN}{TLS}")));
    let mut server = Server::start_in(dir, |_| {});
    let [tls, https, quic] = ["tls", "https", "quic"].map(|transport| server.address(transport));
    let victim = Victim { tls, https, quic, pair: pair.clone() };
    // Eight flooders, as fast as the server of a build without optimization reads: what comes faster is lost in the socket, and with it
    // what others send there.
    let course = Course { pause: Duration::from_millis(1), ..Course::default() };
    let mut largest = 0.0_f64;
    let mut asked = 0;
    std::thread::scope(|scope| {
        let _end = AtTheEnd(&course.done);
        for flooder in 1..=8 {
            let (victim, course) = (&victim, &course);
            scope.spawn(move || flood(victim, [127, 0, 5, flooder], course));
        }
        let end = Instant::now() + SOON * 3;
        while course.count.load(Ordering::Relaxed) < count {
            assert!(Instant::now() < end, "no flood: {}", course.count.load(Ordering::Relaxed));
            // A client by UDP, and the operator.
            assert_eq!(ask(server.dns, "a.example"), Some([10, 0, 0, 1]));
            largest = largest.max(metric(&server, "process_resident_memory_bytes"));
            asked += 1;
        }
        // A client of another address finds a place.
        let reply = quic_client::run(async {
            // Packets are lost where more come than can be read: it tries again, as clients do.
            loop {
                let Ok(connection) = quic_client::connect([127, 0, 6, 1], quic, &pair).await else { continue };
                if let Ok(reply) = quic_client::ask(&connection, &query(0, "a.example")).await {
                    break reply;
                }
            }
        });
        assert!(reply.ends_with(&[10, 0, 0, 1]));
    });
    let bound = metric(&server, "pldns_memory_bound_bytes");
    assert!(largest < bound, "{largest} of {bound}");
    assert!(asked > 10, "{asked}");
    // What the flood held is given back.
    let end = Instant::now() + SOON;
    while metric(&server, "pldns_connections") > 0.0 {
        assert!(Instant::now() < end, "connections are left");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(!server.events().iter().any(|event| event.to_string().contains("panicked")));
    server.signal(15);
    let stopped = server.wait_for("stopped");
    let of = |name: &str| stopped[name].as_u64().unwrap();
    assert_eq!(of("received"), of("answered") + of("refused") + of("dropped"), "{stopped}");
    assert!(server.wait_exit().success());
}

#[test]
fn handshakes_that_do_not_end() {
    under("handshakes that do not end", 5_000);
}

#[test]
fn requests_taken_back() {
    under("requests taken back", 5_000);
}

#[test]
fn slow_bodies() {
    under("slow bodies", 5_000);
}

#[test]
fn first_packets_of_quic() {
    under("first packets of QUIC", 20_000);
}

#[test]
fn slow_streams_of_quic() {
    under("slow streams of QUIC", 5_000);
}
