//! A server as a process, and what it takes.

use std::fs::File;
use std::io::{PipeReader, pipe};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

use crate::dns;
use crate::fault::Sink;
use crate::place::Place;

/// A server that runs until it is dropped.
pub(crate) struct Running {
    child: Child,
    /// The other end of its log, where that is a pipe.
    _log: Option<PipeReader>,
}

/// How a server shows that it has started.
pub(crate) struct Probe<'p> {
    pub(crate) place: &'p Place,
    pub(crate) address: SocketAddr,
    pub(crate) name: String,
    /// How long it is waited for; afterwards it counts as started.
    pub(crate) most: Option<Duration>,
}

/// What a process has.
pub(crate) struct Usage {
    /// Resident memory, MiB.
    pub(crate) memory: u64,
    pub(crate) descriptors: usize,
    /// CPU time so far, seconds.
    pub(crate) cpu: f64,
}

impl Running {
    /// Starts a server whose log goes to a file or elsewhere.
    pub(crate) fn spawn(mut command: Command, log: &Path, sink: Option<Sink>) -> Result<Self, String> {
        let said = |error: std::io::Error| format!("cannot be started: {error}");
        command.stdin(Stdio::null());
        let mut reader = None;
        match sink {
            None => {
                command.stdout(Stdio::null()).stderr(File::create(log).map_err(said)?);
            }
            Some(Sink::Full) => {
                let full = File::options().write(true).open("/dev/full").map_err(said)?;
                command.stdout(full.try_clone().map_err(said)?).stderr(full);
            }
            Some(Sink::Unread | Sink::ReaderGone) => {
                let (read, write) = pipe().map_err(said)?;
                reader = (sink == Some(Sink::Unread)).then_some(read);
                command.stdout(write.try_clone().map_err(said)?).stderr(write);
            }
        }
        Ok(Self { child: command.spawn().map_err(said)?, _log: reader })
    }

    /// Waits until it answers without an error.
    pub(crate) fn wait(&mut self, probe: &Probe<'_>, log: &Path) -> Result<(), String> {
        let begin = Instant::now();
        let socket = UdpSocket::bind((probe.place.client(), 0)).map_err(|error| error.to_string())?;
        socket.connect(probe.address).map_err(|error| error.to_string())?;
        socket.set_read_timeout(Some(Duration::from_millis(5))).map_err(|error| error.to_string())?;
        let mut buffer = [0; 4096];
        for id in 0.. {
            let most = probe.most.unwrap_or(Duration::from_secs(120));
            if begin.elapsed() > most {
                return probe.most.map(|_| ()).ok_or_else(|| "does not answer within two minutes".to_owned());
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                let text = std::fs::read_to_string(log).unwrap_or_default();
                let last: Vec<&str> = text.lines().rev().take(3).collect();
                return Err(format!("ended with {status}: {}", last.join(" / ")));
            }
            let _ = socket.send(&dns::query(id, &probe.name, dns::A));
            match socket.recv(&mut buffer) {
                Ok(len) if buffer[..len].get(3).is_some_and(|flags| matches!(flags & 0x0f, 0 | 3)) => return Ok(()),
                _ => std::thread::sleep(Duration::from_millis(1)),
            }
        }
        Ok(())
    }

    fn pid(&self) -> Option<Pid> {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Where the kernel tells of it.
    fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).unwrap_or_default()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let _ = self.pid().map(|pid| kill_process(pid, signal));
    }

    /// Whether it ends within this time.
    pub(crate) fn ends(&mut self, within: Duration) -> bool {
        let end = Instant::now() + within;
        while Instant::now() < end {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        false
    }

    /// Limits its file descriptors; gives the limit that it had.
    pub(crate) fn limit_descriptors(&self, limit: Option<u64>) -> Option<u64> {
        let most = rustix::process::getrlimit(Resource::Nofile).maximum;
        let before = prlimit(self.pid(), Resource::Nofile, Rlimit { current: limit, maximum: most });
        before.ok().and_then(|before| before.current)
    }

    pub(crate) fn usage(&self) -> Usage {
        let status = self.proc("status");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = resident.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or_default();
        let stat = self.proc("stat");
        // After the program's name in parentheses, user and system time are the 12th and 13th, in hundredths.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok()).unwrap_or_default();
        Usage {
            memory: kib / 1024,
            descriptors: std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).map_or(0, Iterator::count),
            cpu: (ticks(11) + ticks(12)) as f64 / 100.0,
        }
    }

    /// Datagrams that left its namespace's sockets.
    pub(crate) fn datagrams_sent(&self) -> u64 {
        let text = self.proc("net/snmp");
        let counts = text.lines().filter_map(|line| line.strip_prefix("Udp: ")).nth(1);
        counts.and_then(|counts| counts.split(' ').nth(3)?.parse().ok()).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
