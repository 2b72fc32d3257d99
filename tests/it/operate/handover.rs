//! From one process to the next, and sockets of systemd.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::reload::ask_on;
use super::server::{AtTheEnd, RECORDS, Scratch, Server, ask, named_port, settings};

struct Place {
    dir: Arc<Scratch>,
    dns: SocketAddr,
}

impl Place {
    fn new(workers: usize) -> Self {
        let dir = Arc::new(Scratch::new());
        dir.write("records/r.toml", RECORDS);
        let place = Self { dir, dns: SocketAddr::from(([127, 0, 0, 1], named_port())) };
        let http = SocketAddr::from(([127, 0, 0, 1], named_port()));
        place.write(workers, &format!("admin = \"{http}\""));
        place
    }

    fn write(&self, workers: usize, admin: &str) {
        let text = format!(
            "[listen]\ndns = [\"{}\"]\n{admin}\nhealth = \"\"\n[process]\nworkers = {workers}\nhandover = \"{}/run.sock\"\n",
            self.dns,
            self.dir.path().display()
        );
        self.dir.write("pldns.toml", &settings(&text));
    }

    fn start(&self) -> Server {
        Server::start_in(self.dir.clone(), |_| {})
    }
}

#[test]
fn restarts_lose_nothing() {
    let place = Place::new(2);
    let mut server = place.start();
    let done = AtomicBool::new(false);
    let mut answered = 0;
    let asked = std::thread::scope(|scope| {
        let _end = AtTheEnd(&done);
        let askers: Vec<_> = (0..2).map(|_| scope.spawn(|| ask_on(place.dns, &done))).collect();
        for _ in 0..10 {
            let next = place.start();
            let stopped = server.wait_for("stopped");
            assert!(server.wait_exit().success());
            assert_eq!(stopped["received"], stopped["answered"], "{stopped}");
            answered += stopped["answered"].as_u64().unwrap();
            server = next;
            assert_eq!(server.get("admin", "/readyz").status, 200);
        }
        done.store(true, Ordering::Relaxed);
        askers.into_iter().map(|asker| asker.join().unwrap()).sum::<u64>()
    });
    answered += server.stop_now()["answered"].as_u64().unwrap();
    assert!(asked > 100);
    assert_eq!(answered, asked, "every query was answered once, by one process or another");
}

#[test]
fn more_and_fewer_workers_take_over_all_sockets() {
    let place = Place::new(3);
    let mut server = place.start();
    for workers in [1, 4, 2] {
        place.write(workers, "admin = \"\"");
        let next = place.start();
        server.wait_for("stopped");
        assert!(server.wait_exit().success());
        server = next;
        for _ in 0..50 {
            assert_eq!(ask(place.dns, "a.example"), Some([10, 0, 0, 1]));
        }
        for _ in 0..10 {
            TcpStream::connect(place.dns).unwrap();
        }
    }
    server.stop_now();
}

#[test]
fn a_failed_new_process_leaves_the_old_one_serving() {
    let place = Place::new(2);
    let mut server = place.start();
    let good = fs::read_to_string(place.dir.path().join("pldns.toml")).unwrap();
    // It takes the sockets over, and then finds that its own address is taken.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let bad = good.replace("health = \"\"", &format!("health = \"{}\"", taken.local_addr().unwrap()));
    place.dir.write("pldns.toml", &bad.replace("watch = \"100ms\"", "watch = \"0s\""));
    let mut next = Server::spawn_in(place.dir.clone(), |_| {});
    next.wait_for("cannot listen on");
    assert_eq!(next.wait_exit().code(), Some(1));
    server.wait_for("new process failed");
    for _ in 0..50 {
        assert_eq!(ask(place.dns, "a.example"), Some([10, 0, 0, 1]));
    }
    // And the next good one can still take over.
    place.dir.write("pldns.toml", &good);
    let next = place.start();
    server.wait_for("stopped");
    assert!(server.wait_exit().success());
    assert_eq!(ask(place.dns, "a.example"), Some([10, 0, 0, 1]));
    next.stop_now();
}

#[test]
fn sockets_of_systemd_are_served() {
    let dir = Arc::new(Scratch::new());
    dir.write("records/r.toml", RECORDS);
    dir.write("pldns.toml", &settings(""));
    // A port that is free for datagrams may be taken for connections: then another.
    let (datagram, stream) = std::iter::repeat_with(|| UdpSocket::bind("127.0.0.1:0").unwrap())
        .take(100)
        .find_map(|datagram| TcpListener::bind(datagram.local_addr().unwrap()).ok().map(|stream| (datagram, stream)))
        .expect("a port that is free for both");
    let address = datagram.local_addr().unwrap();
    // What comes before the server is there waits in the socket.
    let early = super::server::client(address);
    early.send(&super::server::query(3, "a.example")).unwrap();
    let mut child = Command::new("sh")
        .args(["-c", "exec 3<&0 4<&1 0</dev/null 1>/dev/null; LISTEN_PID=$$ LISTEN_FDS=2 exec \"$@\"", "sh"])
        .arg(env!("CARGO_BIN_EXE_pldns"))
        .args(["serve", "-c"])
        .arg(dir.path().join("pldns.toml"))
        .stdin(Stdio::from(OwnedFd::from(datagram)))
        .stdout(Stdio::from(OwnedFd::from(stream)))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    early.set_read_timeout(Some(super::server::SOON)).unwrap();
    let mut reply = [0; 512];
    let len = early.recv(&mut reply).unwrap();
    assert_eq!(reply[len - 4..len], [10, 0, 0, 1]);
    assert_eq!(ask(address, "a.example"), Some([10, 0, 0, 1]));
    TcpStream::connect(address).unwrap();
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    assert!(child.wait().unwrap().success());
}
