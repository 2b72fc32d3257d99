//! Connections in, each with a bounded head and a bounded life, and not too many of them.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Octets of a request's head.
pub const HEAD_MAX: usize = 8 << 10;
/// How long a head may take.
const HEAD_TIME: Duration = Duration::from_secs(3);
/// How long a connection may last.
const CONNECTION_TIME: Duration = Duration::from_secs(30);
/// How long accepting rests when the system has no descriptors left.
const REST: Duration = Duration::from_millis(100);
/// Where Azure's load balancer probes from.
const PROBE: IpAddr = IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16));

/// How many connections a listener may have at once.
#[derive(Debug, Clone, Copy)]
pub struct AcceptLimits {
    /// Of anybody.
    pub connections: usize,
    /// Besides, of the load balancer's probe and this machine.
    pub kept: usize,
}

/// Serves `router` on `listener`, until it is dropped. Its connections end by themselves.
pub async fn accept(listener: TcpListener, router: Router, limits: AcceptLimits) -> Infallible {
    let (places, kept) = (Arc::new(Semaphore::new(limits.connections)), Arc::new(Semaphore::new(limits.kept)));
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let address = peer.ip().to_canonical();
                let trusted = address == PROBE || address.is_loopback();
                let place = places.clone().try_acquire_owned().ok();
                let place = place.or_else(|| kept.clone().try_acquire_owned().ok().filter(|_| trusted));
                // Without a place it is closed at once: the client asks again.
                if let Some(place) = place {
                    let router = router.clone();
                    tokio::task::spawn_local(async move {
                        // What goes wrong with one client is no concern of ours.
                        let _ = tokio::time::timeout(CONNECTION_TIME, connection(stream, router)).await;
                        drop(place);
                    });
                }
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) => {}
            Err(_) => tokio::time::sleep(REST).await,
        }
    }
}

async fn connection(stream: TcpStream, router: Router) -> hyper::Result<()> {
    let _ = stream.set_nodelay(true);
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_MAX)
        .max_headers(64)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .await
}
