//! What systemd is told, where it started the process (`Type=notify-reload`). Elsewhere all of this does nothing.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;

use crate::server::Counters;

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

/// Feeds the watchdog as long as every worker makes progress: one that is stuck is a beat missed.
pub(super) async fn watchdog(counters: Arc<[Arc<Counters>]>) {
    let Some(timeout) = sd_notify::watchdog_enabled() else {
        return;
    };
    let mut seen: Vec<u64> = vec![0; counters.len()];
    // Workers beat twice a second: what is asked of them more often cannot be told.
    let interval = (timeout / 3).max(Duration::from_secs(1));
    loop {
        tokio::time::sleep(interval).await;
        let now: Vec<u64> = counters.iter().map(|counters| counters.beats()).collect();
        if let Some(stuck) = now.iter().zip(&seen).position(|(now, seen)| now == seen) {
            tracing::error!(worker = stuck, "a worker makes no progress");
        } else {
            notify(&[NotifyState::Watchdog]);
        }
        seen = now;
    }
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd cannot be told");
    }
}
