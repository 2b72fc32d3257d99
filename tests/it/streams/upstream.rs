//! Scripted upstreams: what each connection does is the test's.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::message::{answer, name_of};

pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Each query that came, with the number of its connection.
pub(crate) type Seen = Arc<Mutex<Vec<(usize, String)>>>;

pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Seen,
    accepting: JoinHandle<()>,
}

/// A connection that carries DNS messages behind their lengths.
pub(crate) struct Framed {
    stream: Box<dyn Stream>,
    number: usize,
    seen: Seen,
    first: Option<Vec<u8>>,
}

impl Upstream {
    /// An upstream whose connections are numbered from 0 and do as `conduct` says. The server's look at its upstreams
    /// when it starts is answered aside: it has no number and is not seen.
    pub(crate) async fn start<C, F>(tls: Option<TlsAcceptor>, conduct: C) -> Self
    where
        C: Fn(usize, Framed) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::start_on(listener, tls, conduct).await
    }

    pub(crate) async fn start_on<C, F>(listener: TcpListener, tls: Option<TlsAcceptor>, conduct: C) -> Self
    where
        C: Fn(usize, Framed) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let address = listener.local_addr().unwrap();
        let seen = Seen::default();
        let conduct = Arc::new(conduct);
        let numbers = Arc::new(Mutex::new(0));
        let (known, tls) = (seen.clone(), tls);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (conduct, numbers, seen, tls) = (conduct.clone(), numbers.clone(), known.clone(), tls.clone());
                tokio::spawn(async move {
                    let stream: Box<dyn Stream> = match tls {
                        None => Box::new(stream),
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => Box::new(stream),
                            Err(_) => return,
                        },
                    };
                    let mut framed = Framed { stream, number: 0, seen, first: None };
                    let Some(first) = framed.read_message().await else { return };
                    if name_of(&first) == "." {
                        framed.write(&answer(&first)).await;
                        return;
                    }
                    framed.first = Some(first);
                    framed.number = std::mem::replace(&mut *numbers.lock().unwrap(), 0);
                    *numbers.lock().unwrap() = framed.number + 1;
                    conduct(framed.number, framed).await;
                });
            }
        });
        Self { address, seen, accepting }
    }

    pub(crate) fn seen(&self) -> Vec<(usize, String)> {
        self.seen.lock().unwrap().clone()
    }

    /// How many connections queries came by.
    pub(crate) fn connections(&self) -> usize {
        let numbers: std::collections::HashSet<_> = self.seen().into_iter().map(|(number, _)| number).collect();
        numbers.len()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Framed {
    /// The next query; nothing when the other side closed.
    pub(crate) async fn read(&mut self) -> Option<Vec<u8>> {
        let query = match self.first.take() {
            Some(query) => query,
            None => self.read_message().await?,
        };
        self.seen.lock().unwrap().push((self.number, name_of(&query)));
        Some(query)
    }

    async fn read_message(&mut self) -> Option<Vec<u8>> {
        let len = self.stream.read_u16().await.ok()?;
        let mut message = vec![0; usize::from(len)];
        self.stream.read_exact(&mut message).await.ok()?;
        Some(message)
    }

    pub(crate) async fn write(&mut self, message: &[u8]) {
        self.write_raw(&framed(message)).await;
    }

    /// Writes bytes as they are. The other side may be gone: tests look at what it received.
    pub(crate) async fn write_raw(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
        let _ = self.stream.flush().await;
    }

    /// Answers whatever comes.
    pub(crate) async fn answer_all(mut self) {
        while let Some(query) = self.read().await {
            self.write(&answer(&query)).await;
        }
    }

    /// Closes in good order.
    pub(crate) async fn close(mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Reads and says nothing, until the other side closes.
    pub(crate) async fn say_nothing(mut self) {
        while self.read().await.is_some() {}
    }
}

pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let mut bytes = (message.len() as u16).to_be_bytes().to_vec();
    bytes.extend(message);
    bytes
}

/// Waits until something is so.
pub(crate) async fn until(what: impl Fn() -> bool) {
    let waiting = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap();
}
