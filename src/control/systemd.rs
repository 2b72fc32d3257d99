//! What systemd is told, where it started the process (`Type=notify-reload`). Elsewhere all of this does nothing.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::getsockname;
use sd_notify::NotifyState;

use crate::admin::Status;
use crate::server::{Counters, THREADS, thread_name};
use crate::sys::send_descriptors;

/// The server is up.
pub(super) fn ready() {
    notify(&[NotifyState::Ready]);
}

/// A reload begins; [`ready`] ends it.
pub(super) fn reloading() {
    if let Ok(time) = NotifyState::monotonic_usec_now() {
        notify(&[NotifyState::Reloading, time]);
    }
}

/// The end begins.
pub(super) fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// How often workers are looked at where systemd has no watchdog.
const LOOK: Duration = Duration::from_secs(10);
/// Looks without progress after which /healthz says so: at the first, the whole machine may have slept.
const STUCK_LOOKS: u32 = 2;

/// Feeds the watchdog as long as every worker makes progress: one that is stuck is a beat missed, and told by /healthz.
pub(super) async fn watchdog(counters: Arc<[Arc<Counters>]>, status: Arc<Status>) {
    let mut progress = Progress::new(counters.len());
    // Workers beat twice a second: what is asked of them more often cannot be told.
    let interval = sd_notify::watchdog_enabled().map_or(LOOK, |timeout| (timeout / 3).max(Duration::from_secs(1)));
    let mut looks = 0;
    loop {
        tokio::time::sleep(interval).await;
        match progress.stuck(counters.iter().map(|counters| counters.beats())) {
            Some(number) => {
                tracing::error!(worker = number / THREADS, thread = thread_name(number), "worker stalled");
                looks += 1;
            }
            None => {
                notify(&[NotifyState::Watchdog]);
                looks = 0;
            }
        }
        status.set_stuck(looks >= STUCK_LOOKS);
    }
}

/// The beats of the workers' threads as they were last seen.
struct Progress(Vec<u64>);

impl Progress {
    fn new(threads: usize) -> Self {
        Self(vec![0; threads])
    }

    /// Looks at the beats of the workers' threads; gives the first thread that did not move on since the last look.
    fn stuck(&mut self, beats: impl Iterator<Item = u64>) -> Option<usize> {
        let mut stuck = None;
        for (thread, (seen, now)) in self.0.iter_mut().zip(beats).enumerate() {
            if *seen == now && stuck.is_none() {
                stuck = Some(thread);
            }
            *seen = now;
        }
        stuck
    }
}

/// What the names of stored sockets begin with; the address follows.
const STORED: &str = "pldns-";

/// The sockets that systemd keeps for the next process (`FileDescriptorStoreMax=`): how many by name.
#[derive(Debug, Default)]
pub(super) struct Store {
    names: BTreeMap<String, usize>,
    /// Addresses whose sockets systemd keeps by itself, because a socket unit has them.
    of_units: Vec<SocketAddr>,
}

impl Store {
    /// Those that came with these names; `of_units` has the addresses of the others.
    pub(super) fn new(names: impl IntoIterator<Item = String>, of_units: Vec<SocketAddr>) -> Self {
        let mut counts = BTreeMap::new();
        for name in names {
            *counts.entry(name).or_default() += 1;
        }
        Self { names: counts, of_units }
    }

    /// Whether a socket of this name was stored by a process like this one.
    pub(super) fn is_stored(name: &str) -> bool {
        name.starts_with(STORED)
    }

    /// Has systemd keep these sockets and no others.
    pub(super) fn keep(&mut self, sockets: &[BorrowedFd<'_>]) {
        let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
        let mut by_name: BTreeMap<String, Vec<BorrowedFd<'_>>> = BTreeMap::new();
        for &socket in sockets {
            let address = getsockname(socket).ok().and_then(|address| SocketAddr::try_from(address).ok());
            if let Some(address) = address.filter(|address| !self.of_units.contains(address)) {
                by_name.entry(name_of(address)).or_default().push(socket);
            }
        }
        // An address that has other sockets than before may be one that another listener came to.
        let is_kept = |name: &str, count: usize| self.names.get(name).is_some_and(|&kept| kept == count);
        for gone in self.names.keys().filter(|name| by_name.get(*name).is_none_or(|now| !is_kept(name, now.len()))) {
            notify(&[NotifyState::Custom(&format!("FDSTOREREMOVE=1\nFDNAME={gone}"))]);
        }
        for (name, sockets) in by_name.iter().filter(|(name, sockets)| !is_kept(name, sockets.len())) {
            let message = format!("FDSTORE=1\nFDNAME={name}\n");
            told(send_descriptors(Path::new(&path), message.as_bytes(), sockets));
        }
        self.names = by_name.into_iter().map(|(name, sockets)| (name, sockets.len())).collect();
    }
}

/// A colon would end the name.
fn name_of(address: SocketAddr) -> String {
    format!("{STORED}{address}").replace(':', "_")
}

fn notify(states: &[NotifyState<'_>]) {
    told(sd_notify::notify(states));
}

fn told(outcome: io::Result<()>) {
    if let Err(error) = outcome {
        tracing::warn!(%error, "sd_notify failed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_does_not_move_on_is_stuck() {
        let mut progress = Progress::new(3);
        let mut look = |beats: [u64; 3]| progress.stuck(beats.into_iter());
        assert_eq!(look([1, 1, 0]), Some(2), "it never began");
        assert_eq!(look([2, 3, 1]), None);
        assert_eq!(look([3, 3, 2]), Some(1));
        assert_eq!(look([3, 3, 3]), Some(0), "the first of two");
        assert_eq!(look([4, 4, 4]), None, "it goes on again");
    }

    #[test]
    fn names_of_stored_sockets_hold_no_colon() {
        for address in ["0.0.0.0:53", "[::]:53", "[fe80::1%3]:53"] {
            let name = name_of(address.parse().unwrap());
            assert!(Store::is_stored(&name) && !name.contains(':'), "{name}");
        }
        assert!(!Store::is_stored("pldns.socket"));
    }
}
