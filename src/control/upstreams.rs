//! A look at the upstreams at the start: which of them answer, by which way. Nothing waits for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::TryRng;
use rand::rngs::SysRng;

use crate::config::Settings;
use crate::forward::Target;
use crate::server::Shared;
use crate::upstream::{Streams, probe};
use crate::wire::{Name, Rtype};

/// The upstreams of all rules, each with a zone that it is responsible for: the root where it has that rule as well.
pub(super) fn of(settings: &Settings) -> BTreeMap<Target, Name> {
    let mut zones = BTreeMap::new();
    for rule in &settings.forwards {
        for upstream in &rule.upstreams {
            let zone = zones.entry(upstream.clone()).or_insert_with(|| rule.zone.clone());
            if rule.zone == Name::root() {
                *zone = Name::root();
            }
        }
    }
    zones
}

/// Says which upstreams answer, by which way; nothing waits for it. One that does not answer this, but did answer clients'
/// queries meanwhile, is no trouble.
pub(super) async fn look(upstreams: BTreeMap<Target, Name>, streams: Streams, shared: Arc<Shared>) {
    for (upstream, zone) in upstreams {
        let (streams, shared) = (streams.clone(), shared.clone());
        tokio::task::spawn_local(async move {
            let finding = probe(&streams, &upstream, &probe_query(&zone)).await;
            let has_responded = || shared.forwarding().has_responded(&upstream);
            match (finding.datagram, finding.stream) {
                (Some(Ok(())), Ok(())) => tracing::info!(%upstream, "upstream responds over UDP and TCP"),
                (Some(Ok(())), Err(error)) => tracing::warn!(
                    %upstream,
                    %error,
                    "upstream responds over UDP but not TCP: large answers will fail. At 168.63.129.16 an old Azure guest agent's \
                     firewall rule does that to users other than root: update the agent"
                ),
                (Some(Err(_)), _) | (None, Err(_)) if has_responded() => {}
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

/// A query for the SOA of a zone; for the root its name servers, which every resolver answers one way or another.
fn probe_query(zone: &Name) -> Vec<u8> {
    let mut id = [0; 2];
    let _ = SysRng.try_fill_bytes(&mut id);
    let rtype = if *zone == Name::root() { Rtype::NS } else { Rtype::SOA };
    [&id[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0], zone.as_wire(), &rtype.0.to_be_bytes(), &[0, 1]].concat()
}
