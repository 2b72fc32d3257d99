//! What systemd is told.

use std::os::unix::net::UnixDatagram;
use std::sync::Arc;

use crate::server::{RECORDS, SOON, Scratch, Server, settings};

#[test]
fn systemd_hears_of_every_state() {
    let dir = Arc::new(Scratch::new());
    dir.write("records/r.toml", RECORDS);
    dir.write("pldns.toml", &settings(""));
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let server = Server::start_in(dir, |command| {
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "3000000");
    });
    let hear = |word: &str| {
        let mut octets = [0; 1024];
        loop {
            let len = socket.recv(&mut octets).unwrap_or_else(|error| panic!("{word}: {error}"));
            let text = String::from_utf8_lossy(&octets[..len]).into_owned();
            if text.lines().any(|line| line == word) {
                return text;
            }
        }
    };
    hear("READY=1");
    // Fed by the beats of all workers, several times.
    hear("WATCHDOG=1");
    hear("WATCHDOG=1");
    server.signal(1);
    assert!(hear("RELOADING=1").contains("MONOTONIC_USEC="));
    hear("READY=1");
    server.signal(15);
    hear("STOPPING=1");
    let mut server = server;
    assert!(server.wait_exit().success());
}
