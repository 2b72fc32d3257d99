//! The samples of the status page's history.

use std::sync::Arc;
use std::time::Instant;

use tokio::time::{MissedTickBehavior, interval};

use crate::admin::{Admin, INTERVAL};

/// Adds a sample every [`INTERVAL`].
pub(super) async fn keep(admin: Arc<Admin>) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first is at once.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        admin.sample(Instant::now());
    }
}
