//! DNS over HTTPS (RFC 8484): each query a request of its own on one HTTP/2 connection, which hickory-net speaks.
//!
//! hickory-net writes the query again from its parts and reads the answer to see that it is one; what is handed on are
//! the bytes that came. They carry ID 0, as caches like it, so the ID is put back here.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_net::NetError;
use hickory_net::h2::HttpsClientStream;
use hickory_net::runtime::TokioRuntimeProvider;
use hickory_net::xfer::{DnsRequestSender, FirstAnswer};
use hickory_proto::op::{DnsRequest, DnsRequestOptions, Message};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::rustls::ClientConfig;

use super::connection::Connection;
use super::fault::Fault;

/// How long a request may take: no client waits longer.
const REQUEST_MAX: Duration = Duration::from_secs(5);

/// Opens HTTP/2 over TLS, verified for `server_name`.
pub(super) async fn open(
    address: SocketAddr,
    server_name: Arc<str>,
    path: Arc<str>,
    config: Arc<ClientConfig>,
) -> Result<HttpsClientStream, Fault> {
    HttpsClientStream::builder(config, TokioRuntimeProvider::new())
        .build(address, server_name, path)
        .await
        .map_err(|error| fault(&error))
}

/// Sends requests and takes their answers until the connection ends or is not needed any more.
pub(super) async fn carry(
    connection: &Rc<Connection>,
    client: HttpsClientStream,
    messages: &mut mpsc::UnboundedReceiver<Vec<u8>>,
) -> Result<(), Fault> {
    let mut requests = JoinSet::new();
    let useless = connection.until_idle();
    tokio::pin!(useless);
    loop {
        tokio::select! {
            Some(message) = messages.recv() => {
                requests.spawn_local(request(connection.clone(), client.clone(), message));
            }
            Some(done) = requests.join_next() => {
                // What is under way on it may still be answered: it ends when they are.
                if let Ok(Err(Broken)) = done {
                    connection.retire();
                }
            }
            () = &mut useless => return Ok(()),
        }
    }
}

/// The connection takes no more requests.
struct Broken;

async fn request(connection: Rc<Connection>, mut client: HttpsClientStream, message: Vec<u8>) -> Result<(), Broken> {
    let Some(&id) = message.first_chunk::<2>() else {
        return Ok(());
    };
    let outcome = match Message::from_vec(&message) {
        Ok(message) => {
            let request = DnsRequest::new(message, DnsRequestOptions::default());
            let answer = timeout(REQUEST_MAX, client.send_message(request).first_answer()).await;
            answer.unwrap_or(Err(NetError::Timeout))
        }
        Err(error) => Err(error.into()),
    };
    let now = Instant::now();
    match outcome {
        Ok(answer) => {
            let mut answer = answer.into_buffer();
            if let Some(place) = answer.first_chunk_mut() {
                *place = id;
            }
            connection.take(answer, now);
            // An answer to another question: nothing more comes of this request.
            connection.fail(id, Fault::nonsense("it answered another question"), now);
            Ok(())
        }
        Err(error) if error.is_connection_closed() => {
            connection.fail(id, connection.lost(fault(&error), now), now);
            Err(Broken)
        }
        Err(error) => {
            connection.fail(id, fault(&error), now);
            Ok(())
        }
    }
}

fn fault(error: &NetError) -> Fault {
    match error {
        NetError::Io(error) => Fault::of(error),
        NetError::RustlsError(error) => Fault::of_tls(error),
        NetError::Timeout => Fault::silent("it does not answer"),
        error if error.is_connection_closed() => Fault::closed(),
        error => Fault::nonsense(&error.to_string()),
    }
}
