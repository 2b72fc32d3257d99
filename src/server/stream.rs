//! Streams: connections that are taken in, whatever they carry.

use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::accept::accept;
use super::connections::Place;
use super::endpoint::EndpointKind;
use super::faults::Part;
use super::https;
use super::listen::Listener;
use super::message_stream::MessageStream;
use super::worker::Worker;
use crate::engine::Client;

/// How long a connection of a client lasts that is not allowed.
const STRANGER: Duration = Duration::from_secs(3);

/// Accepts connections until the listener or the server ends.
pub(super) async fn serve(worker: &Rc<Worker>, listener: &Listener) {
    let Some(stream) = &listener.stream else { return };
    let accepting = stream.try_clone().and_then(tokio::net::TcpListener::from_std);
    let accepting = match accepting {
        Ok(accepting) => accepting,
        Err(error) => return tracing::error!(%error, "TCP listener failed"),
    };
    tokio::select! {
        never = accept(&accepting, |stream, client| take(worker, listener.kind, stream, client)) => match never {},
        () = listener.stop.stopped() => {}
    }
}

/// Takes a connection in. Who is not allowed takes no place of those who are: such a connection gets one REFUSED, where
/// there is a place for it.
fn take(worker: &Rc<Worker>, kind: EndpointKind, stream: TcpStream, client: IpAddr) {
    worker.shared.faults.meet(Part::Listener);
    let is_allowed = worker.shared.snapshot.load().access.allows(client);
    let places = if is_allowed {
        &worker.shared.connections
    } else {
        worker.shared.not_allowed.fetch_add(1, Ordering::Relaxed);
        // A handshake costs more than a stranger is worth.
        if kind != EndpointKind::Dns {
            return;
        }
        &worker.shared.strangers
    };
    // Without a place the connection is closed at once: the client tries again or elsewhere.
    let Some(place) = places.take(client) else { return };
    let client = Client { address: client, transport: kind.stream_transport() };
    let worker = worker.clone();
    // Each kind has a task of its own, so that none takes what another one needs.
    match kind {
        EndpointKind::Https => spawn(worker, place, async move |worker| {
            if let Ok(stream) = worker.shared.tls.accept(kind, stream).await {
                https::serve_connection(worker, client, stream).await;
            }
        }),
        EndpointKind::Tls => spawn(worker, place, async move |worker| {
            // What goes wrong in a handshake is the client's concern, and anybody can make it go wrong.
            if let Ok(stream) = worker.shared.tls.accept(kind, stream).await {
                MessageStream::new(worker, client, stream, usize::MAX).serve().await;
            }
        }),
        _ if is_allowed => spawn(worker, place, async move |worker| {
            MessageStream::new(worker, client, stream, usize::MAX).serve().await;
        }),
        _ => spawn(worker, place, async move |worker| {
            let mut stream = MessageStream::new(worker, client, stream, 1);
            let _ = timeout(STRANGER, stream.serve()).await;
        }),
    }
}

/// Starts the task of a connection.
fn spawn(worker: Rc<Worker>, place: Place, serve: impl AsyncFnOnce(&Rc<Worker>) + 'static) {
    tokio::task::spawn_local(async move {
        // What a task holds it holds once for each step from one function into another: a pointer is small.
        serve_in_place(&worker, &place, Box::pin(serve(&worker))).await;
    });
}

/// Serves a connection until it ends, or its place goes to another client.
pub(super) async fn serve_in_place(worker: &Worker, place: &Place, serving: Pin<Box<dyn Future<Output = ()> + '_>>) {
    let serving = worker.shared.faults.supervised(Part::Connection, serving);
    tokio::select! {
        // What came of a panic is counted; the client sees its connection closed.
        _ = serving => {}
        () = place.lost() => {}
    }
}
