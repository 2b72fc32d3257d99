//! What happens to a server, or to where it is, in the time of a fault.

use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::fault::{Act, Clients, Sink};
use crate::readers;
use crate::running::{Probe, Running};
use crate::servers::{Server, Setup};

/// Between two restarts.
const RESTART_EVERY: Duration = Duration::from_secs(1);
/// Between two reloads.
const RELOAD_EVERY: Duration = Duration::from_millis(500);
/// How long two processes of a server that cannot hand over run beside each other.
const BESIDE: Duration = Duration::from_millis(500);
/// How long the end of a process may take.
const SOON: Duration = Duration::from_secs(5);

/// Starts a server, again and again where its fault wants that.
pub(crate) struct Starter<'s> {
    pub(crate) server: Server,
    pub(crate) setup: Setup<'s>,
}

impl Starter<'_> {
    fn log(&self) -> PathBuf {
        self.setup.scratch.path().join("log")
    }

    fn spawn(&self, ttl: u32) -> Result<Running, String> {
        let sink: Option<Sink> = if let Act::Log(sink, _) = self.setup.fault.act { Some(sink) } else { None };
        let command = self.server.command(&self.setup, ttl).ok_or("not installed")?;
        Running::spawn(command, &self.log(), sink)
    }

    /// Starts it, and waits until it answers.
    pub(crate) fn start(&self) -> Result<Running, String> {
        let mut running = self.spawn(60)?;
        let (is_loop, has_records) = (self.setup.fault.is_loop(), self.server.has_records());
        let name = if is_loop && has_records { "r0.table.test" } else { "probe.known.test" };
        let probe = Probe {
            place: self.setup.place,
            address: self.setup.address,
            name: name.to_owned(),
            // What forwards to itself and has no records never answers.
            most: (is_loop && !has_records).then_some(Duration::from_secs(2)),
        };
        running.wait(&probe, &self.log())?;
        Ok(running)
    }

    /// Puts a new process in the place of one.
    fn replace(&self, mut old: Running) -> Result<Running, String> {
        let new = self.spawn(60)?;
        if self.server != Server::Pldns {
            std::thread::sleep(BESIDE);
            old.signal(Signal::TERM);
        }
        if old.ends(SOON) { Ok(new) } else { Err("the old process does not end".to_owned()) }
    }
}

/// Does what the fault says, each at its time since `start`; gives the server that then runs, and what is to be said.
pub(crate) fn play(
    starter: &Starter<'_>,
    mut running: Running,
    start: Instant,
    time: &Range<Duration>,
) -> Result<(Running, Vec<String>), String> {
    let (fault, place) = (starter.setup.fault, starter.setup.place);
    let mut notes = Vec::new();
    let wait = |until: Duration| std::thread::sleep((start + until).saturating_duration_since(Instant::now()));
    wait(time.start);
    let cpu = running.usage().cpu;
    let ip = |lines: &[&str]| place.ip(&lines.iter().map(|line| format!("{line}\n")).collect::<String>());
    match fault.act {
        Act::Nothing | Act::Memory(_) | Act::Log(..) => {}
        Act::Stop => {
            running.signal(Signal::STOP);
            wait(time.end);
            running.signal(Signal::CONT);
        }
        Act::Kill => {
            drop(running);
            running = starter.start()?;
            notes.push(format!("answers after {:.2} s", (start.elapsed() - time.start).as_secs_f64()));
        }
        Act::Restarts => {
            let mut count = 0;
            while start.elapsed() < time.end {
                running = starter.replace(running)?;
                count += 1;
                wait(time.start + RESTART_EVERY * count);
            }
            notes.push(format!("{count} restarts"));
        }
        Act::Reloads(_) => {
            let mut count = 0;
            while start.elapsed() < time.end {
                // The same records with another TTL.
                let _ = starter.server.command(&starter.setup, 61 + count);
                running.signal(Signal::HUP);
                count += 1;
                wait(time.start + RELOAD_EVERY * count);
            }
            notes.push(format!("{count} reloads"));
        }
        Act::Descriptors(spare) => {
            let open = running.usage().descriptors;
            let before = running.limit_descriptors(Some(u64::try_from(open as i64 + spare).unwrap_or(0)));
            wait(time.end);
            running.limit_descriptors(before);
            notes.push(format!("{open} open"));
        }
        Act::Ip(begin, end) => {
            ip(begin)?;
            wait(time.end);
            ip(end)?;
        }
    }
    if let Clients::Readers(count) = fault.clients {
        let connections = readers::open(place, starter.setup.address, count);
        notes.push(format!("{} connections", connections.len()));
        wait(time.end);
        notes.push(format!("{} MiB with them", running.usage().memory));
    }
    if matches!(fault.act, Act::Descriptors(_)) {
        notes.push(format!("CPU {:.1} s meanwhile", running.usage().cpu - cpu));
    }
    Ok((running, notes))
}
