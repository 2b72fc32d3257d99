//! What systemd is told, and what it keeps.

use std::io::{IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::hold::Held;
use super::server::{RECORDS, SOON, Scratch, Server, ask, client, named_port, query, settings};

/// Something that listens where systemd would.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn new(dir: &Scratch) -> Self {
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        Self { socket, path }
    }

    /// The next message and the descriptors with it; nothing when there is none in time.
    fn next(&self) -> Option<(String, Vec<OwnedFd>)> {
        let mut bytes = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(128))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let received = recvmsg(&self.socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC).ok()?;
        let descriptors = control.drain().flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect(),
            _ => Vec::new(),
        });
        let descriptors = descriptors.collect();
        Some((String::from_utf8_lossy(&bytes[..received.bytes]).into_owned(), descriptors))
    }

    /// Waits for a message with this line.
    #[track_caller]
    fn hear(&self, word: &str) -> (String, Vec<OwnedFd>) {
        loop {
            let (text, descriptors) = self.next().unwrap_or_else(|| panic!("no {word}"));
            if text.lines().any(|line| line == word) {
                return (text, descriptors);
            }
        }
    }
}

#[test]
fn systemd_hears_of_every_state() {
    let dir = Arc::new(Scratch::new());
    dir.write("records/r.toml", RECORDS);
    dir.write("pldns.toml", &settings(""));
    let manager = Manager::new(&dir);
    let mut server = Server::start_in(dir, |command| {
        command.env("NOTIFY_SOCKET", &manager.path);
    });
    manager.hear("READY=1");
    server.signal(1);
    assert!(manager.hear("RELOADING=1").0.contains("MONOTONIC_USEC="));
    manager.hear("READY=1");
    server.signal(15);
    manager.hear("STOPPING=1");
    assert!(server.wait_exit().success());
}

#[test]
fn a_worker_that_is_held_is_a_missed_beat() {
    let dir = Arc::new(Scratch::new());
    dir.write("records/r.toml", RECORDS);
    dir.write("pldns.toml", &settings(""));
    let manager = Manager::new(&dir);
    let mut server = Server::start_in(dir, |command| {
        command.env("NOTIFY_SOCKET", &manager.path).env("WATCHDOG_USEC", "3000000");
    });
    manager.hear("READY=1");
    // Fed by the beats of all workers, several times.
    manager.hear("WATCHDOG=1");
    manager.hear("WATCHDOG=1");
    let held = match Held::thread(server.child.id(), "worker-1") {
        Ok(held) => held,
        Err(error) => {
            eprintln!("no thread can be held here ({error}): the stuck worker is left out");
            return drop(server.stop());
        }
    };
    assert_eq!(server.get("health", "/healthz").status, 200);
    let event = server.wait_for("worker stalled");
    assert_eq!((&event["level"], &event["worker"]), (&"ERROR".into(), &1.into()));
    assert_eq!(event["thread"], "worker-1");
    manager.socket.set_nonblocking(true).unwrap();
    while manager.next().is_some() {}
    manager.socket.set_nonblocking(false).unwrap();
    manager.socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let end = Instant::now() + Duration::from_millis(3500);
    while Instant::now() < end {
        let heard = manager.next();
        assert!(heard.as_ref().is_none_or(|(text, _)| !text.contains("WATCHDOG=1")), "{heard:?}");
    }
    let health = server.get("health", "/healthz");
    assert_eq!((health.status, &health.json()["status"]), (503, &"stuck".into()));
    assert_eq!(server.get("health", "/readyz").status, 200, "the other workers answer");
    drop(held);
    manager.socket.set_read_timeout(Some(SOON)).unwrap();
    manager.hear("WATCHDOG=1");
    let end = Instant::now() + SOON;
    while server.get("health", "/healthz").status != 200 {
        assert!(Instant::now() < end, "it goes on again");
    }
    server.stop();
}

/// Where systemd's own judge is installed.
#[test]
fn the_unit_is_little_exposed() {
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/systemd/pldns.service");
    // Tenths: 1.5.
    let judge = ["security", "--offline=true", "--threshold=15", "--no-pager", unit];
    match Command::new("systemd-analyze").args(judge).output() {
        Ok(judged) if String::from_utf8_lossy(&judged.stderr).contains("unrecognized option") => {
            eprintln!("systemd-analyze is too old to judge a file: its judgement is left out");
        }
        Ok(judged) => assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stdout)),
        Err(_) => eprintln!("systemd-analyze is not installed: its judgement is left out"),
    }
}

#[test]
fn listening_sockets_are_stored_and_taken_again() {
    let dir = Arc::new(Scratch::new());
    dir.write("records/r.toml", RECORDS);
    let (dns, second, admin) = (named_port(), named_port(), named_port());
    let listen = |dns: &str| {
        settings(&format!("[listen]\ndns = [{dns}]\nadmin = \"127.0.0.1:{admin}\"\nhealth = \"\"\ndrain = \"0s\"\n"))
    };
    dir.write("pldns.toml", &listen(&format!("\"127.0.0.1:{dns}\", \"127.0.0.1:{second}\"")));
    let manager = Manager::new(&dir);
    let mut server = Server::start_in(dir.clone(), |command| {
        command.env("NOTIFY_SOCKET", &manager.path);
    });
    let mut stored = Vec::new();
    for port in [dns, second, admin] {
        let name = format!("FDNAME=pldns-127.0.0.1_{port}");
        let (text, descriptors) = manager.hear(&name);
        assert!(text.lines().any(|line| line == "FDSTORE=1"), "{text}");
        // Two workers with a socket of each kind.
        assert_eq!(descriptors.len(), if port == admin { 1 } else { 4 });
        if port != second {
            stored.extend(descriptors.into_iter().map(|descriptor| (name.clone(), descriptor)));
        }
    }
    // An address that a reload takes away is kept no longer.
    dir.write("pldns.toml", &listen(&format!("\"127.0.0.1:{dns}\"")));
    server.wait_for("reloaded");
    let removed = manager.hear("FDSTOREREMOVE=1").0;
    assert!(removed.contains(&format!("FDNAME=pldns-127.0.0.1_{second}")), "{removed}");
    server.stop();
    // Between the two processes: what comes waits in the socket.
    let early: Vec<_> = (0..20)
        .map(|id| {
            let client = client(format!("127.0.0.1:{dns}").parse().unwrap());
            client.send(&query(id, "a.example")).unwrap();
            client
        })
        .collect();
    let early_stream = TcpStream::connect(("127.0.0.1", dns)).unwrap();
    let mut child = restart_with(&dir, &manager, &stored);
    for client in early {
        let mut reply = [0; 512];
        let len = client.recv(&mut reply).expect("a query is lost");
        assert_eq!(reply[len - 4..len], [10, 0, 0, 1]);
    }
    drop(early_stream);
    assert_eq!(ask(format!("127.0.0.1:{dns}").parse().unwrap(), "a.example"), Some([10, 0, 0, 1]));
    // Nothing is stored a second time, and what is there no longer is told of no more.
    manager.hear("READY=1");
    manager.socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    while let Some((text, _)) = manager.next() {
        assert!(!text.contains("FDSTORE"), "{text}");
    }
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    assert!(child.wait().unwrap().success());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(!said.contains("systemd") && !said.contains("ERROR"), "{said}");
}

/// Starts the server as systemd does: descriptors from 3 on, with their names.
fn restart_with(dir: &Scratch, manager: &Manager, stored: &[(String, OwnedFd)]) -> std::process::Child {
    let mut script = String::new();
    // Out of the way first, for the places from 3 on may be taken by others of them.
    for (number, (_, descriptor)) in stored.iter().enumerate() {
        rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::empty()).unwrap();
        script += &format!("exec {}<&{}; ", 200 + number, descriptor.as_raw_fd());
    }
    for number in 0..stored.len() {
        script += &format!("exec {}<&{}; exec {}<&-; ", 3 + number, 200 + number, 200 + number);
    }
    let names: Vec<_> = stored.iter().map(|(name, _)| name.trim_start_matches("FDNAME=")).collect();
    script += "LISTEN_PID=$$ exec \"$@\"";
    let child = Command::new("bash")
        .args(["-c", &script, "bash"])
        .arg(env!("CARGO_BIN_EXE_pldns"))
        .args(["serve", "-c"])
        .arg(dir.path().join("pldns.toml"))
        .env("NOTIFY_SOCKET", &manager.path)
        .env("LISTEN_FDS", stored.len().to_string())
        .env("LISTEN_FDNAMES", names.join(":"))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    for (_, descriptor) in stored {
        rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::CLOEXEC).unwrap();
    }
    child
}
