//! What the guard found, into the log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::admin::Admin;
use crate::engine::Finding;

/// How often it is looked at.
const INTERVAL: Duration = Duration::from_millis(500);

/// Logs what the guard finds: each name once in ten minutes.
pub(super) async fn tell(admin: Arc<Admin>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for finding in admin.shared.engine.findings().take() {
            let reason = admin.keep_finding(&finding, Instant::now());
            match finding {
                Finding::Public { name, guarded, client, action } => tracing::warn!(
                    %name,
                    %guarded,
                    %client,
                    action = action.name(),
                    reason,
                    "public answer for a name with a private endpoint record: `pldns explain` says why"
                ),
                Finding::Shadowed { name, missing, zone } => tracing::warn!(
                    %name,
                    %missing,
                    %zone,
                    reason,
                    "private DNS zone shadows a name: it is linked to the network and has no such record"
                ),
            }
        }
    }
}
