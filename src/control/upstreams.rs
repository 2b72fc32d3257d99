//! A look at the upstreams at the start: which of them answer, by which way. Nothing waits for it.

use rand::TryRng;
use rand::rngs::SysRng;

use crate::config::Settings;
use crate::forward::Target;
use crate::upstream::{Streams, probe};

/// The upstreams of all rules.
pub(super) fn of(settings: &Settings) -> Vec<Target> {
    let rules = settings.forwards.iter();
    let mut upstreams: Vec<Target> = rules.flat_map(|rule| rule.upstreams.clone()).collect();
    upstreams.sort_unstable();
    upstreams.dedup();
    upstreams
}

/// Says which upstreams answer, by which way; nothing waits for it.
pub(super) async fn look(upstreams: Vec<Target>, streams: Streams) {
    for upstream in upstreams {
        let streams = streams.clone();
        tokio::task::spawn_local(async move {
            let finding = probe(&streams, &upstream, &probe_query()).await;
            match (finding.datagram, finding.stream) {
                (Some(Ok(())), Ok(())) => tracing::info!(%upstream, "upstream responds over UDP and TCP"),
                (Some(Ok(())), Err(error)) => tracing::warn!(
                    %upstream,
                    %error,
                    "upstream responds over UDP but not TCP: large answers will fail. At 168.63.129.16 an old Azure guest agent's \
                     firewall rule does that to users other than root: update the agent"
                ),
                (Some(Err(error)), Ok(())) => {
                    tracing::warn!(%upstream, %error, "upstream responds over TCP but not UDP");
                }
                (None, Ok(())) => tracing::info!(%upstream, "upstream responds"),
                (Some(Err(error)), Err(_)) | (None, Err(error)) => {
                    tracing::warn!(%upstream, %error, "upstream does not respond");
                }
            }
        });
    }
}

/// A query for the root's name servers, which every resolver answers one way or another.
fn probe_query() -> Vec<u8> {
    let mut id = [0; 2];
    let _ = SysRng.try_fill_bytes(&mut id);
    [&id[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1]].concat()
}
