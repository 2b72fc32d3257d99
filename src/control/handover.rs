//! From one process to the next without a gap: the old one hands its listening sockets over.
//!
//! ```text
//! new: connects to the socket of the old ─> takes its sockets ─> loads, starts, serves ─> listens in its place ─> "ready"
//! old: sends its sockets ─> goes on serving ─> "ready" ─> hangs up, answers what it has read, ends
//!                                          └─> the connection ends without it ─> goes on as if nothing had been
//! ```
//!
//! Both read the same kernel sockets meanwhile, so what is queued in them is answered by one or the other. Those of QUIC, whose
//! connections only one of the two knows, the new one reads when the old one has hung up.

#![expect(clippy::disallowed_types, reason = "sockets are handed on, not used")]

use std::cell::RefCell;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::http::Listeners;
use super::systemd::Store;
use crate::config::Settings;
use crate::server::{Inherited, Workers};
use crate::sys::{FdSocket, readable};

/// How long each message of the old process is waited for.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long a new process may take from its first word to its being ready.
const START_MAX: Duration = Duration::from_secs(300);
/// Descriptors of one process.
const DESCRIPTORS_MAX: usize = 4096;

const DATAGRAM: &[u8] = b"datagram";
const STREAM: &[u8] = b"stream";
const END: &[u8] = b"end";
const READY: &[u8] = b"ready";

/// The process before this one, as long as it does not know that this one is ready.
pub(super) struct PreviousProcess(FdSocket);

impl PreviousProcess {
    /// Takes over the sockets of the process that listens at `path`, if there is one; it runs as this process's user, as
    /// root, or as `user`, which this process is about to become.
    pub(super) fn take_over(path: &Path, user: Option<u32>, inherited: &mut Inherited) -> Option<Self> {
        let socket = match FdSocket::connect(path, TIMEOUT, user) {
            Ok(socket) => socket,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                tracing::warn!(path = %path.display(), %error, "took over no sockets");
                return None;
            }
            // There is no process before this one.
            Err(_) => return None,
        };
        match take(&socket, inherited) {
            Ok(count) => {
                tracing::info!(sockets = count, "taking over sockets from the previous process");
                Some(Self(socket))
            }
            Err(error) => {
                tracing::warn!(%error, "previous process handed over no sockets");
                None
            }
        }
    }

    /// Tells it that it may end, and returns when it reads its sockets no more, or does not say so in time. Takes as long as that.
    pub(super) fn release_previous(self) {
        if let Err(error) = self.0.send(READY, None) {
            return tracing::warn!(%error, "cannot notify previous process to exit");
        }
        // It says nothing: it hangs up.
        let _ = self.0.receive();
    }
}

fn take(socket: &FdSocket, inherited: &mut Inherited) -> io::Result<usize> {
    for count in 0..DESCRIPTORS_MAX {
        match socket.receive()? {
            (message, Some(descriptor)) if message == DATAGRAM => {
                inherited.add_datagram(UdpSocket::from(descriptor))?;
            }
            (message, Some(descriptor)) if message == STREAM => inherited.add_stream(TcpListener::from(descriptor))?,
            (message, None) if message == END => return Ok(count),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

/// Sockets that systemd hands over (`LISTEN_FDS`): those of socket units, whose addresses for DNS are given back for they
/// take the place of the settings', and those that a process before stored, which are used where the settings name them. What is
/// `encrypted` by the settings is no address for plain DNS, though it may have sockets of both kinds (TLS and QUIC).
pub(super) fn from_systemd(inherited: &mut Inherited, encrypted: &[SocketAddr]) -> (Vec<SocketAddr>, Store) {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':').map(str::to_owned);
    let mut given = listenfd::ListenFd::from_env();
    let (mut stored, mut stored_names) = (Inherited::default(), Vec::new());
    for number in 0..given.len() {
        let name = names.next().unwrap_or_default();
        let is_stored = Store::is_stored(&name);
        let place = if is_stored { &mut stored } else { &mut *inherited };
        let taken = if let Ok(Some(socket)) = given.take_udp_socket(number) {
            place.add_datagram(socket)
        } else if let Ok(Some(listener)) = given.take_tcp_listener(number) {
            place.add_stream(listener)
        } else {
            Err(io::Error::other("neither a datagram socket nor a listening one"))
        };
        match taken {
            Ok(()) if is_stored => stored_names.push(name),
            Ok(()) => {}
            Err(error) => tracing::warn!(number, %error, "ignoring unusable socket passed by systemd"),
        }
    }
    let of_units = inherited.dns_addresses();
    inherited.add_all(stored);
    let given = of_units.iter().filter(|address| !encrypted.contains(address)).copied().collect();
    (given, Store::new(stored_names, of_units))
}

/// All sockets that clients come to.
pub(super) fn sockets<'s>(workers: &'s Workers, http: &'s Listeners) -> Vec<BorrowedFd<'s>> {
    let (mut sockets, stream) = workers.sockets();
    sockets.extend(stream);
    sockets.extend(http.sockets());
    sockets
}

/// This process's readiness to be followed by another.
pub(super) struct Handover(Option<JoinHandle<io::Result<FdSocket>>>);

/// The process after this one, as long as it does not know that this one reads nothing any more.
pub(super) struct Successor(#[expect(dead_code, reason = "it is closed with this")] FdSocket);

impl Handover {
    /// Listens for the next process from now on, where the settings name a socket for it.
    pub(super) fn start(settings: &Settings, workers: &Rc<RefCell<Workers>>, http: &Rc<RefCell<Listeners>>) -> Self {
        let Some(path) = &settings.handover else { return Self(None) };
        match FdSocket::listen(Path::new(path)) {
            Ok(listener) => Self(Some(tokio::task::spawn_local(wait(listener, workers.clone(), http.clone())))),
            Err(error) => {
                tracing::warn!(path, %error, "handover socket unavailable");
                Self(None)
            }
        }
    }

    /// Returns when the next process has taken over; never otherwise. What it gives is to be dropped when nothing is read any more.
    pub(super) async fn done(self) -> Successor {
        if let Some(waiting) = self.0 {
            match waiting.await {
                Ok(Ok(next)) => {
                    tracing::info!("new process is ready");
                    return Successor(next);
                }
                Ok(Err(error)) => tracing::warn!(%error, "handover socket unavailable"),
                Err(error) => tracing::warn!(%error, "handover socket unavailable"),
            }
        }
        std::future::pending().await
    }
}

/// Waits for processes that want to take over; gives the one that has.
async fn wait(listener: FdSocket, workers: Rc<RefCell<Workers>>, http: Rc<RefCell<Listeners>>) -> io::Result<FdSocket> {
    let ready = readable(std::os::fd::AsFd::as_fd(&listener))?;
    loop {
        let mut guard = ready.readable().await?;
        let accepted = listener.accept();
        match accepted {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                guard.clear_ready();
                continue;
            }
            Err(error) => {
                tracing::warn!(%error, "handover failed");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
            Ok(next) => {
                tracing::info!("handing over to a new process");
                match tokio::time::timeout(START_MAX, hand_over(&next, &workers, &http)).await {
                    Ok(Ok(())) => return Ok(next),
                    Ok(Err(error)) => tracing::warn!(%error, "new process failed; continuing to serve"),
                    Err(_) => tracing::warn!("new process timed out; continuing to serve"),
                }
            }
        }
    }
}

async fn hand_over(next: &FdSocket, workers: &RefCell<Workers>, http: &RefCell<Listeners>) -> io::Result<()> {
    {
        let (workers, http) = (workers.borrow(), http.borrow());
        let (datagram, stream) = workers.sockets();
        let send = |kind: &[u8], descriptors: Vec<BorrowedFd<'_>>| {
            descriptors.into_iter().try_for_each(|descriptor| next.send(kind, Some(descriptor)))
        };
        send(DATAGRAM, datagram)?;
        send(STREAM, stream)?;
        send(STREAM, http.sockets())?;
        next.send(END, None)?;
    }
    let ready = readable(std::os::fd::AsFd::as_fd(next))?;
    loop {
        let mut guard = ready.readable().await?;
        match next.receive() {
            Ok((message, _)) if message == READY => return Ok(()),
            Ok(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => guard.clear_ready(),
            Err(error) => return Err(error),
        }
    }
}
