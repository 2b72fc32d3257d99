//! DNS over HTTPS (RFC 8484): GET and POST of /dns-query, over HTTP/1.1 and HTTP/2.
//!
//! A request carries one message, which goes the way of every other one. What a connection may hold is bounded: its
//! streams, the bytes of heads and bodies, the time for each, and how often it may take a request back.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{sleep_until, timeout};
use tokio_rustls::server::TlsStream;

use super::faults::Part;
use super::worker::Worker;
use crate::engine::Client;
use crate::wire::header::{HEADER_LEN, Header, QR};
use crate::wire::reply::freshness;

/// The one path.
const PATH: &str = "/dns-query";
/// The one media type.
const MEDIA_TYPE: &str = "application/dns-message";
/// Requests of one connection at the same time.
const STREAMS_MAX: u32 = 100;
/// Bytes of a request's head.
const HEAD_MAX: u32 = 8 << 10;
/// Headers of one request.
const HEADERS_MAX: usize = 64;
/// Bytes of the target of a GET request.
const TARGET_MAX: usize = 4 << 10;
/// Bytes of a body: the longest message.
const BODY_MAX: u32 = 65_535;
/// How long a head may take from its first byte to its last, and a body.
const REQUEST: Duration = Duration::from_secs(3);
/// How often a connection may take a request back that is being answered (CVE-2023-44487).
const RESETS_MAX: u32 = 100;
/// Bytes that wait to be written, of one connection.
const SEND_MAX: usize = 64 << 10;
/// How long a connection may take to end once it was told to.
const GRACE: Duration = Duration::from_secs(5);

type Reply = Response<Full<Bytes>>;

/// Serves a connection to its end.
pub(super) async fn serve_connection(worker: &Rc<Worker>, client: Client, stream: TlsStream<TcpStream>) {
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let activity = Rc::new(Activity::default());
    let service = {
        let (worker, activity) = (worker.clone(), activity.clone());
        service_fn(move |request| {
            let (worker, mut work) = (worker.clone(), Work::begin(&activity));
            async move {
                let request_place = worker.shared.connections.take_request();
                let reply = match request_place {
                    Some(_place) => answer(&worker, client, request).await,
                    None => refusal(StatusCode::SERVICE_UNAVAILABLE),
                };
                work.done();
                Ok::<_, Infallible>(reply)
            }
        })
    };
    let is_stopping = worker.shared.last_messages();
    if is_http2 {
        let mut builder = http2::Builder::new(OnThisWorker(worker.clone()));
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(HEAD_MAX)
            .max_send_buf_size(SEND_MAX)
            // Bodies are messages: no window needs to be larger than one.
            .initial_stream_window_size(BODY_MAX)
            .initial_connection_window_size(BODY_MAX * 2);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        tokio::select! {
            _ = &mut connection => return,
            () = activity.ended(worker) => {}
            () = is_stopping => {}
        }
        connection.as_mut().graceful_shutdown();
        let _ = timeout(GRACE, connection).await;
    } else {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            // Heads that are too slow are found by the activity, which knows when they began.
            .header_read_timeout(None)
            .max_buf_size(HEAD_MAX as usize)
            .max_headers(HEADERS_MAX);
        let stream = AttemptState { stream, activity: activity.clone() };
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        tokio::select! {
            _ = &mut connection => return,
            () = activity.ended(worker) => {}
            () = is_stopping => {}
        }
        connection.as_mut().graceful_shutdown();
        let _ = timeout(GRACE, connection).await;
    }
}

/// Answers one request.
async fn answer(worker: &Rc<Worker>, client: Client, request: Request<Incoming>) -> Reply {
    let is_head = request.method() == Method::HEAD;
    let message = match message_of(worker, request).await {
        Ok(message) => message,
        Err(status) => return refusal(status),
    };
    let is_query = Header::read(&message).is_some_and(|header| header.flags & QR == 0);
    let Some(reply) = worker.exchange(&message, client).await else {
        // What is no query gets no reply over UDP either; else there is none because the server is busy or ends.
        return if is_query { refusal(StatusCode::SERVICE_UNAVAILABLE) } else { refusal(StatusCode::BAD_REQUEST) };
    };
    let max_age = freshness(&reply.message).unwrap_or(0);
    let (len, body) = (reply.message.len(), if is_head { Bytes::new() } else { Bytes::from_owner(reply) });
    let mut response = Response::new(Full::new(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    headers.insert(CONTENT_LENGTH, len.into());
    if let Ok(value) = HeaderValue::try_from(format!("max-age={max_age}")) {
        headers.insert(CACHE_CONTROL, value);
    }
    response
}

/// The message in a request, or the response that says why there is none.
async fn message_of(worker: &Worker, request: Request<Incoming>) -> Result<Bytes, StatusCode> {
    if request.uri().path() != PATH {
        return Err(StatusCode::NOT_FOUND);
    }
    match *request.method() {
        Method::GET | Method::HEAD => {
            let target = request.uri().path_and_query().map_or("", |target| target.as_str());
            if target.len() > TARGET_MAX {
                return Err(StatusCode::URI_TOO_LONG);
            }
            let query = request.uri().query().unwrap_or_default();
            let dns = query.split('&').find_map(|pair| pair.strip_prefix("dns=")).ok_or(StatusCode::BAD_REQUEST)?;
            // RFC 8484 §6 demands no padding; some clients send it.
            let message =
                BASE64URL_NOPAD.decode(dns.trim_end_matches('=').as_bytes()).map_err(|_| StatusCode::BAD_REQUEST)?;
            whole(message.into())
        }
        Method::POST => {
            let media_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
            let media_type = media_type.and_then(|value| value.split(';').next()).unwrap_or_default();
            let is_message = media_type.trim().eq_ignore_ascii_case(MEDIA_TYPE);
            let declared = request.headers().get(CONTENT_LENGTH).and_then(|len| len.to_str().ok()?.parse::<u64>().ok());
            if declared.is_some_and(|len| len > u64::from(BODY_MAX)) {
                return Err(if is_message {
                    StatusCode::PAYLOAD_TOO_LARGE
                } else {
                    StatusCode::UNSUPPORTED_MEDIA_TYPE
                });
            }
            match timeout(REQUEST, read_body(worker, request.into_body())).await {
                // Only now: some clients take an answer that comes before the end of their body for a broken stream.
                _ if !is_message => Err(StatusCode::UNSUPPORTED_MEDIA_TYPE),
                Ok(body) => whole(body?.into()),
                Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
            }
        }
        _ => Err(StatusCode::METHOD_NOT_ALLOWED),
    }
}

/// Reads a body of at most a message's length, as long as there is room for it.
async fn read_body(worker: &Worker, mut body: Incoming) -> Result<Vec<u8>, StatusCode> {
    let Some(mut room) = worker.shared.connections.take_bytes(0) else {
        return Err(StatusCode::SERVICE_UNAVAILABLE);
    };
    let mut message = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| StatusCode::BAD_REQUEST)?;
        let Some(data) = frame.data_ref() else { continue };
        if message.len() + data.len() > BODY_MAX as usize {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
        if !room.grow(data.len()) {
            return Err(StatusCode::SERVICE_UNAVAILABLE);
        }
        message.extend_from_slice(data);
    }
    Ok(message)
}

/// A message that has a header at least.
fn whole(message: Bytes) -> Result<Bytes, StatusCode> {
    if message.len() < HEADER_LEN { Err(StatusCode::BAD_REQUEST) } else { Ok(message) }
}

/// A response without a message.
fn refusal(status: StatusCode) -> Reply {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST"));
    }
    response
}

/// Runs the streams of a connection on the thread that it is on.
#[derive(Clone)]
struct OnThisWorker(Rc<Worker>);

impl<F: Future + 'static> Executor<F> for OnThisWorker {
    fn execute(&self, future: F) {
        let worker = self.0.clone();
        tokio::task::spawn_local(async move {
            worker.shared.faults.supervised(Part::Connection, future).await;
        });
    }
}

/// What a connection is doing, so that one that does nothing, or nothing good, is closed.
struct Activity {
    state: RefCell<State>,
    /// Requests being answered.
    open: Cell<u32>,
    resets: Cell<u32>,
    changed: Notify,
}

#[derive(Clone, Copy)]
enum State {
    /// Nothing since then.
    Idle(Instant),
    /// A head has been coming since then.
    Head(Instant),
    /// Requests are being answered.
    Busy,
    /// It takes back too much.
    Hostile,
}

impl Default for Activity {
    fn default() -> Self {
        Self {
            state: RefCell::new(State::Idle(Instant::now())),
            open: Cell::new(0),
            resets: Cell::new(0),
            changed: Notify::new(),
        }
    }
}

impl Activity {
    fn set(&self, state: State) {
        self.state.replace(state);
        self.changed.notify_one();
    }

    /// Returns when the connection is to be closed.
    async fn ended(&self, worker: &Worker) {
        loop {
            let state = *self.state.borrow();
            let until = match state {
                State::Hostile => return,
                State::Busy => None,
                State::Idle(since) => Some(since + worker.shared.connections.idle_time()),
                State::Head(since) => Some(since + REQUEST),
            };
            let due = async {
                match until {
                    Some(until) => sleep_until(until.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => return,
                () = self.changed.notified() => {}
            }
        }
    }
}

/// A request being answered.
struct Work {
    activity: Rc<Activity>,
    is_done: bool,
}

impl Work {
    fn begin(activity: &Rc<Activity>) -> Self {
        activity.open.set(activity.open.get() + 1);
        activity.set(State::Busy);
        Self { activity: activity.clone(), is_done: false }
    }
}

impl Work {
    fn done(&mut self) {
        self.is_done = true;
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let Activity { open, resets, .. } = &*self.activity;
        open.set(open.get().saturating_sub(1));
        if !self.is_done {
            resets.set(resets.get() + 1);
        }
        if resets.get() > RESETS_MAX {
            self.activity.set(State::Hostile);
        } else if open.get() == 0 {
            self.activity.set(State::Idle(Instant::now()));
        }
    }
}

/// A stream that notes when a head begins.
struct AttemptState<S> {
    stream: S,
    activity: Rc<Activity>,
}

impl<S: AsyncRead + Unpin> AsyncRead for AttemptState<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        let is_idle = matches!(*self.activity.state.borrow(), State::Idle(_));
        if buffer.filled().len() > before && is_idle {
            self.activity.set(State::Head(Instant::now()));
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for AttemptState<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
