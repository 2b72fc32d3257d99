//! The listeners for HTTP: bound before privileges are given up, changed by reloads.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use tokio::task::AbortHandle;

use super::log_listening;
use super::watch::sibling;
use crate::admin::{Admin, BODY_MAX, HEAD_MAX, PAGE_BYTES, admin_router, health_router, serve_http};
use crate::config::Settings;
use crate::server::{BindError, ConnectionLimits, Connections, Endpoint, EndpointKind, Inherited, Part, bind_alone};

/// Connections of operators.
const ADMIN: ConnectionLimits = ConnectionLimits { total: 100, kept: 0, per_address: 64 };
/// Connections of probes: places are kept for the load balancer's own.
const HEALTH: ConnectionLimits = ConnectionLimits { total: 132, kept: 32, per_address: 32 };
/// What all of these take at most, bytes: a head and what is read ahead of one, a body, and a page that is written.
pub(super) const MEMORY_MAX: usize = (ADMIN.total + HEALTH.total) * (HEAD_MAX * 2 + BODY_MAX + PAGE_BYTES);
/// Bytes of a token.
const TOKEN_MAX: usize = 4096;

/// What keeps HTTP from being served.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// An address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The token cannot be read.
    #[error("cannot read token from {file} ([admin] token_file): {reason}")]
    Token {
        /// The file.
        file: String,
        /// Why not.
        reason: String,
    },
}

/// Bound and not served yet.
pub(super) struct Bound {
    admin: Option<(SocketAddr, TcpListener)>,
    health: Option<(SocketAddr, TcpListener)>,
    token: Option<Arc<String>>,
}

impl Bound {
    /// Binds what the settings name. The default address of the admin listener may be taken: then it is done without.
    pub(super) fn bind(path: &Path, settings: &Settings, inherited: &mut Inherited) -> Result<Self, HttpError> {
        let mut bind = |kind, address| Ok((address, bind_alone(Endpoint { kind, address }, inherited)?));
        let listen = &settings.listen;
        let admin = listen.admin.map(|address| bind(EndpointKind::Admin, address)).transpose();
        let admin = match admin {
            Err(error) if listen.admin_is_default => {
                let error: BindError = error;
                tracing::warn!(%error, "admin listener disabled: address in use");
                None
            }
            result => result?,
        };
        Ok(Self {
            admin,
            health: listen.health.map(|address| bind(EndpointKind::Health, address)).transpose()?,
            token: read_token(path, settings)?,
        })
    }

    /// The token.
    pub(super) fn token(&self) -> Option<Arc<String>> {
        self.token.clone()
    }
}

/// Served.
pub(super) struct Listeners {
    state: Arc<Admin>,
    admin: Option<Serving>,
    health: Option<Serving>,
}

struct Serving {
    /// The address as the settings name it.
    asked: SocketAddr,
    task: AbortHandle,
    /// To be handed on.
    kept: OwnedFd,
}

/// What a reload will change: for each listener nothing, or its new socket where it is to have one.
pub(super) struct Change {
    admin: Option<Option<(SocketAddr, TcpListener)>>,
    health: Option<Option<(SocketAddr, TcpListener)>>,
    token: Option<Arc<String>>,
}

impl Listeners {
    /// Serves what is bound.
    pub(super) fn serve(bound: Bound, state: Arc<Admin>) -> Self {
        let mut listeners = Self { state, admin: None, health: None };
        listeners.change(Change { admin: Some(bound.admin), health: Some(bound.health), token: bound.token });
        listeners
    }

    /// All sockets, to be handed on.
    pub(super) fn sockets(&self) -> Vec<BorrowedFd<'_>> {
        [&self.admin, &self.health].into_iter().flatten().map(|serving| serving.kept.as_fd()).collect()
    }

    /// Binds what is new in `settings`.
    pub(super) fn prepare(&self, path: &Path, settings: &Settings) -> Result<Change, HttpError> {
        let new = |kind, serving: &Option<Serving>, asked: Option<SocketAddr>| {
            if serving.as_ref().map(|serving| serving.asked) == asked {
                return Ok(None);
            }
            let bind = |address| Ok((address, bind_alone(Endpoint { kind, address }, &mut Inherited::default())?));
            asked.map(bind).transpose().map(Some)
        };
        let listen = &settings.listen;
        let admin: Result<_, BindError> = new(EndpointKind::Admin, &self.admin, listen.admin);
        let admin = match admin {
            Err(_) if listen.admin_is_default => None,
            result => result?,
        };
        let health: Result<_, BindError> = new(EndpointKind::Health, &self.health, listen.health);
        Ok(Change { admin, health: health?, token: read_token(path, settings)? })
    }

    /// Serves what is new, and no longer what is gone.
    pub(super) fn change(&mut self, change: Change) {
        self.state.token.store(change.token);
        let state = self.state.clone();
        if let Some(new) = change.admin {
            let router = |address| admin_router(state.clone(), address);
            replace(&mut self.admin, new, EndpointKind::Admin, ADMIN, &self.state, router);
        }
        if let Some(new) = change.health {
            let router = |_| health_router(state.clone());
            replace(&mut self.health, new, EndpointKind::Health, HEALTH, &self.state, router);
        }
    }
}

fn replace(
    place: &mut Option<Serving>,
    new: Option<(SocketAddr, TcpListener)>,
    kind: EndpointKind,
    limits: ConnectionLimits,
    state: &Arc<Admin>,
    router: impl FnOnce(SocketAddr) -> axum::Router,
) {
    if let Some(old) = place.take() {
        old.task.abort();
    }
    let Some((asked, listener)) = new else { return };
    let parts = || -> io::Result<_> {
        let (address, kept) = (listener.local_addr()?, listener.try_clone()?.into());
        Ok((address, kept, tokio::net::TcpListener::from_std(listener)?))
    };
    match parts() {
        Ok((address, kept, listener)) => {
            let (router, state) = (router(address), state.clone());
            let places = Arc::new(Connections::new(limits));
            let serving = tokio::task::spawn_local(async move {
                // After a panic it begins again.
                loop {
                    let serving = serve_http(&listener, router.clone(), places.clone());
                    state.shared.faults.supervised(Part::Listener, serving).await;
                }
            });
            *place = Some(Serving { asked, task: serving.abort_handle(), kept });
            log_listening(Endpoint { kind, address });
        }
        Err(error) => tracing::error!(transport = kind.key(), %error, "HTTP listener failed"),
    }
}

pub(super) fn read_token(path: &Path, settings: &Settings) -> Result<Option<Arc<String>>, HttpError> {
    let Some(name) = &settings.admin.token_file else {
        return Ok(None);
    };
    let file = sibling(path, name);
    let fail = |reason: String| HttpError::Token { file: file.display().to_string(), reason };
    let text = std::fs::read_to_string(&file).map_err(|error| fail(error.to_string()))?;
    let token = text.trim();
    if token.is_empty() || token.len() > TOKEN_MAX || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(fail("a token is one line of printable ASCII without spaces".to_owned()));
    }
    Ok(Some(Arc::new(token.to_owned())))
}
