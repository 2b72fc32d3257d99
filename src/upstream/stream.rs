//! Queries over connections that stay open: TCP, TLS and HTTPS.
//!
//! Each worker has its own [`Streams`], and it a few connections per upstream. Many queries are under way on each
//! (RFC 7766 §6.2.1.1), their answers come in any order. A connection is opened by the first query that needs it and
//! closed when it was idle for a while. The other side may close it at any time: a query that is lost so on a connection
//! that had answered before is asked again, once, on a fresh one, and alone there as far as may be: some servers answer
//! one query per connection, and some queries bring a connection down. One that falls silent takes no more queries. What
//! cannot be opened is not tried again at once.
//!
//! It must never hold a query beyond its deadline, nor let one upstream's trouble touch another's queries.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::mpsc;
use tokio::time::{timeout, timeout_at};

use super::connection::Connection;
use super::fault::Fault;
use super::trust::{Config, Trust};
use super::{framed, https};
use crate::forward::{Protocol, Target};

/// Connections per upstream that take queries.
const CONNECTIONS_MAX: usize = 2;
/// Queries under way on a connection before another one is opened beside it.
const CROWD: usize = 32;
/// Connections per upstream that carry one query alone, because another connection lost it.
const ALONE_MAX: usize = 16;
/// How long opening may take.
const OPEN_MAX: Duration = Duration::from_secs(3);
/// How long an upstream is left alone after it could not be opened.
const PAUSE: Duration = Duration::from_millis(250);

/// The connections of one worker to all upstreams. Must be used inside a tokio `LocalSet`.
#[derive(Clone)]
pub struct Streams(Rc<Inner>);

struct Inner {
    trust: Arc<Trust>,
    rng: RefCell<StdRng>,
    groups: RefCell<HashMap<Target, Group>>,
}

/// Whether a connection takes more than one query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sharing {
    Shared,
    Alone,
}

/// The connections to one upstream.
#[derive(Default)]
struct Group {
    /// Those that may take queries.
    connections: Vec<Rc<Connection>>,
    /// What they were opened with.
    config: Option<Arc<Config>>,
    /// How many others carry one query alone.
    alone: usize,
    /// The last attempt, where it failed.
    failed: Option<(Instant, Fault)>,
}

impl Streams {
    /// No connections yet. `seed` is from the operating system's source of randomness.
    pub fn new(trust: Arc<Trust>, seed: [u8; 32]) -> Self {
        Self(Rc::new(Inner { trust, rng: RefCell::new(StdRng::from_seed(seed)), groups: RefCell::default() }))
    }

    /// Asks `target` (by TCP where its usual way is UDP) and gives its answer as it came, but for the ID, which is that
    /// of `message`. It is asked again on a fresh connection where one is lost, as often as `losses_max`.
    ///
    /// # Errors
    /// Those of the connection; `TimedOut` when the deadline passes.
    pub async fn ask(&self, target: &Target, message: &[u8], losses_max: u8, deadline: Instant) -> io::Result<Vec<u8>> {
        // Where UDP is the usual way, the look at start-up says once whether TCP is to be had.
        let is_usual_way = target.protocol != Protocol::Datagram;
        let target = by_stream(target);
        let answer = timeout_at(deadline.into(), self.ask_again(&target, message, losses_max)).await?;
        answer.map_err(|fault| {
            if is_usual_way {
                self.0.trust.tell(&target, &fault, Instant::now());
            }
            fault.into()
        })
    }

    /// Asks, and again on a fresh connection where one is lost, as often as `losses`.
    async fn ask_again(&self, target: &Target, message: &[u8], losses_max: u8) -> Result<Vec<u8>, Fault> {
        let mut since = None;
        for _ in 0..losses_max {
            match self.ask_once(target, message, since).await {
                Err(Fault { lost: Some(lost), .. }) => since = Some(lost),
                Err(fault) if losses_max > 1 && fault.is_break() => since = Some(Instant::now()),
                outcome => return outcome,
            }
        }
        self.ask_once(target, message, since).await
    }

    async fn ask_once(&self, target: &Target, message: &[u8], since: Option<Instant>) -> Result<Vec<u8>, Fault> {
        let now = Instant::now();
        let (connection, sharing) = self.connection(target, since, now)?;
        let waiting = connection.submit(message, &mut self.0.rng.borrow_mut(), now)?;
        if sharing == Sharing::Alone {
            connection.retire();
        }
        waiting.answer().await
    }

    /// A connection that may take a query, begun not before `since`, which is when another connection lost that query.
    fn connection(
        &self,
        target: &Target,
        since: Option<Instant>,
        now: Instant,
    ) -> Result<(Rc<Connection>, Sharing), Fault> {
        let config = self.0.trust.config();
        let mut groups = self.0.groups.borrow_mut();
        let group = groups.entry(target.clone()).or_default();
        let known = group.choose(&config, since, now);
        let is_alone =
            since.is_some() && group.alone < ALONE_MAX && known.as_ref().is_some_and(|known| known.live() > 0);
        if let Some(connection) = known
            && !is_alone
        {
            return Ok((connection, Sharing::Shared));
        }
        if let Some((at, fault)) = &group.failed
            && now.saturating_duration_since(*at) < PAUSE
        {
            return Err(fault.clone());
        }
        let (connection, messages) = Connection::new(now);
        let sharing = if is_alone {
            group.alone += 1;
            Sharing::Alone
        } else {
            if group.connections.len() >= CONNECTIONS_MAX {
                group.connections.remove(0).retire();
            }
            group.connections.push(connection.clone());
            Sharing::Shared
        };
        let open = self.clone().keep(target.clone(), connection.clone(), sharing, config, messages);
        tokio::task::spawn_local(open);
        Ok((connection, sharing))
    }

    /// Opens a connection and keeps it while it is of use.
    async fn keep(
        self,
        target: Target,
        connection: Rc<Connection>,
        sharing: Sharing,
        config: Arc<Config>,
        mut messages: mpsc::UnboundedReceiver<Vec<u8>>,
    ) {
        let outcome = open_and_carry(&target, &connection, &config, &mut messages).await;
        let now = Instant::now();
        let fault = outcome.err();
        connection.end(fault.clone().unwrap_or_else(Fault::closed), now);
        let mut groups = self.0.groups.borrow_mut();
        if let Some(group) = groups.get_mut(&target) {
            match sharing {
                Sharing::Alone => group.alone -= 1,
                Sharing::Shared => group.connections.retain(|known| !Rc::ptr_eq(known, &connection)),
            }
            group.failed = fault.filter(|_| !connection.was_open()).map(|fault| (now, fault));
            if group.connections.is_empty() && group.alone == 0 && group.failed.is_none() {
                groups.remove(&target);
            }
        }
    }
}

impl Group {
    /// The first connection that is not crowded, else the one that is least, once no other may be opened.
    fn choose(&mut self, config: &Arc<Config>, since: Option<Instant>, now: Instant) -> Option<Rc<Connection>> {
        if !self.config.as_ref().is_some_and(|known| Arc::ptr_eq(known, config)) {
            self.config = Some(config.clone());
            self.connections.drain(..).for_each(|connection| connection.retire());
            self.failed = None;
        }
        self.connections.retain(|connection| connection.is_usable(now));
        let is_full = self.connections.len() >= CONNECTIONS_MAX;
        let fresh = || self.connections.iter().filter(|connection| since.is_none_or(|since| connection.begun >= since));
        let roomy = fresh().find(|connection| connection.live() < CROWD);
        let least = || fresh().min_by_key(|connection| connection.live()).filter(|_| is_full);
        roomy.or_else(least).cloned()
    }
}

/// A plain upstream is asked by TCP here.
fn by_stream(target: &Target) -> Target {
    match target.protocol {
        Protocol::Datagram => Target { address: target.address, protocol: Protocol::Tcp },
        _ => target.clone(),
    }
}

async fn open_and_carry(
    target: &Target,
    connection: &Rc<Connection>,
    config: &Config,
    messages: &mut mpsc::UnboundedReceiver<Vec<u8>>,
) -> Result<(), Fault> {
    let address = target.address;
    let config = || config.clone().map_err(|error| Fault::of_tls(&error));
    match &target.protocol {
        Protocol::Datagram | Protocol::Tcp => {
            let stream = in_time(connection, framed::open_tcp(address)).await?;
            framed::carry(connection, stream, messages).await
        }
        Protocol::Tls { server_name } => {
            let stream = in_time(connection, framed::open_tls(address, server_name, config()?)).await?;
            framed::carry(connection, stream, messages).await
        }
        Protocol::Https { server_name, path } => {
            let client = https::open(address, server_name.clone(), path.clone(), config()?);
            let client = in_time(connection, client).await?;
            https::carry(connection, client, messages).await
        }
    }
}

async fn in_time<T, E>(connection: &Connection, opening: impl Future<Output = Result<T, E>>) -> Result<T, Fault>
where
    Fault: From<E>,
{
    let opened = timeout(OPEN_MAX, opening).await;
    let opened = opened.map_err(|_| Fault::silent("it does not open the connection in time"))??;
    connection.opened();
    Ok(opened)
}
