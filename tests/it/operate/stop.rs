//! The end: not ready first, answering on, and a second signal.

use std::time::{Duration, Instant};

use super::server::{Server, ask};

const DRAIN: &str = "[listen]\ndns = [\"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"\nhealth = \"127.0.0.1:0\"\n";

#[test]
fn not_ready_first_then_answering_on_then_the_end() {
    let mut server = Server::start(&format!("{DRAIN}drain = \"2s\"\n"));
    server.signal(15);
    let start = Instant::now();
    server.wait_for("draining");
    let ready = server.get("health", "/readyz");
    assert_eq!((ready.status, &ready.json()["status"]), (503, &"stopping".into()));
    assert_eq!(server.get("health", "/healthz").status, 200);
    while start.elapsed() < Duration::from_millis(1500) {
        assert_eq!(ask(server.dns, "a.example"), Some([10, 0, 0, 1]));
        std::thread::sleep(Duration::from_millis(50));
    }
    let stopped = server.wait_for("stopped");
    assert!(start.elapsed() >= Duration::from_millis(1900), "it ended too soon");
    assert!(server.wait_exit().success());
    assert_eq!(stopped["received"], stopped["answered"]);
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut server = Server::start(&format!("{DRAIN}drain = \"60s\"\n"));
    server.signal(15);
    server.wait_for("draining");
    let start = Instant::now();
    server.signal(2);
    server.wait_for("stopped by a second signal");
    assert!(server.wait_exit().success());
    assert!(start.elapsed() < Duration::from_secs(3));
}

#[test]
fn the_default_gives_load_balancers_their_time() {
    assert_eq!(privatelink_dns::config::Settings::default().listen.drain, Duration::from_secs(15));
}
