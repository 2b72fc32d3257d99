//! Connections of HTTP, each with a bounded head and a bounded life, and not too many of them.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};

use crate::server::{Connections, accept};

/// Bytes of a request's head.
pub const HEAD_MAX: usize = 8 << 10;
/// How long a head may take.
const HEAD_TIME: Duration = Duration::from_secs(3);
/// How long a connection may last.
const CONNECTION_TIME: Duration = Duration::from_secs(30);

/// Serves `router` on `listener`, until it is dropped. Its connections end by themselves, or lose their places.
pub async fn serve_http(listener: &TcpListener, router: Router, places: Arc<Connections>) -> Infallible {
    accept(listener, |stream, client| {
        // Without a place it is closed at once: the client asks again.
        let Some(place) = places.take(client) else { return };
        let router = router.clone();
        tokio::task::spawn_local(async move {
            tokio::select! {
                // An error of one connection concerns that client alone.
                _ = tokio::time::timeout(CONNECTION_TIME, connection(stream, router)) => {}
                () = place.lost() => {}
            }
        });
    })
    .await
}

async fn connection(stream: TcpStream, router: Router) -> hyper::Result<()> {
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_MAX)
        .max_headers(64)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .await
}
