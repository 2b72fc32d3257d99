//! Servers as child processes: found, started with their own configuration, waited for, ended with the benchmark.

use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::dns;

/// Where servers are looked for besides `PATH`.
const SYSTEM_PATHS: [&str; 4] = ["/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin"];

/// The program with this name, where it is installed.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = SYSTEM_PATHS.iter().map(PathBuf::from);
    std::env::split_paths(&path).chain(system).map(|place| place.join(name)).find(|file| file.is_file())
}

/// A port of loopback that is free now, for UDP and TCP.
pub(crate) fn free_port() -> u16 {
    loop {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = socket.local_addr().expect("a bound socket has an address");
        if std::net::TcpListener::bind(address).is_ok() {
            return address.port();
        }
    }
}

/// A server that runs until it is dropped.
pub(crate) struct Running {
    child: Child,
    /// Where it answers.
    pub(crate) address: SocketAddr,
    /// From start to first answer.
    pub(crate) started_in: Duration,
}

impl Running {
    /// Starts a server and waits until it answers a query for `probe` without an error.
    pub(crate) fn start(mut command: Command, port: u16, probe: &str, log: &Path) -> Result<Self, String> {
        let log_file = || std::fs::File::create(log).map_err(|error| error.to_string());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log_file()?);
        let begin = Instant::now();
        let child = command.spawn().map_err(|error| format!("cannot be started: {error}"))?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut running = Self { child, address, started_in: Duration::ZERO };
        let socket = UdpSocket::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
        socket.connect(address).map_err(|error| error.to_string())?;
        socket.set_read_timeout(Some(Duration::from_millis(1))).map_err(|error| error.to_string())?;
        let mut buffer = [0; 1500];
        for id in 0.. {
            if begin.elapsed() > Duration::from_secs(120) {
                return Err("does not answer within two minutes".to_owned());
            }
            if let Ok(Some(status)) = running.child.try_wait() {
                let text = std::fs::read_to_string(log).unwrap_or_default();
                let last: Vec<&str> = text.lines().rev().take(3).collect();
                return Err(format!("ended with {status}: {}", last.join(" / ")));
            }
            let _ = socket.send(&dns::query(id, probe, dns::A));
            let wait = Instant::now() + Duration::from_millis(if id < 2000 { 1 } else { 20 });
            while Instant::now() < wait {
                match socket.recv(&mut buffer) {
                    Ok(len) if buffer[..len].get(3).is_some_and(|flags| matches!(flags & 0x0f, 0 | 3)) => {
                        running.started_in = begin.elapsed();
                        return Ok(running);
                    }
                    Ok(_) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                        std::thread::sleep(Duration::from_micros(500));
                    }
                    Err(_) => {}
                }
            }
        }
        unreachable!("the loop ends by a return")
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
