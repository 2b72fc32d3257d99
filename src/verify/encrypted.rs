//! Asking all questions over the encrypted listeners, by the client that upstreams are asked with.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::queue::{Answers, Queue, gather};
use super::{Check, Observed};
use crate::client::{is_answer, query, with_id};
use crate::forward::{Target, TroubleKind};
use crate::upstream::{Streams, Trust, trouble_of};

/// Questions under way at once.
const AT_ONCE: usize = 48;
/// Connections that may be lost under one question.
const LOSSES_MAX: u8 = 2;
/// How long an answer is waited for, connection and handshake included.
const WAIT: Duration = Duration::from_secs(6);

/// An encrypted listener of the server.
#[derive(Debug, Clone)]
pub struct Listener {
    /// `tls` or `https`.
    pub transport: &'static str,
    /// Its address, and the name that its certificate must be for.
    pub target: Target,
}

/// What came over an encrypted listener.
#[derive(Debug)]
pub struct Over {
    /// The listener.
    pub listener: Listener,
    /// What came back for each check; or why nothing does.
    pub answers: Result<Answers, ListenerError>,
}

/// Why an encrypted listener is not asked.
#[derive(Debug, thiserror::Error)]
pub enum ListenerError {
    /// The system gives no randomness.
    #[error("{0}")]
    Randomness(io::Error),
    /// Its certificate is not accepted.
    #[error("{0}; the name that is expected in it is that of [tls] name or --tls-name")]
    Certificate(String),
    /// No connection, or no answer to the first question.
    #[error("{0}")]
    Connection(String),
}

/// Asks everything over one listener; where the first question fails, nothing more. To be run in a `LocalSet`.
pub(super) async fn ask_all(listener: Listener, queue: Rc<Queue>, trust: Arc<Trust>) -> Over {
    let streams = match seed() {
        Ok(seed) => Streams::new(trust, seed),
        Err(error) => return Over { listener, answers: Err(ListenerError::Randomness(error)) },
    };
    if let Some(check) = queue.first()
        && let Err(error) = ask(&streams, &listener.target, check).await
    {
        let trouble = trouble_of(&error);
        let text = trouble.text.to_string();
        let error = match trouble.kind {
            TroubleKind::Certificate => ListenerError::Certificate(text),
            _ => ListenerError::Connection(text),
        };
        return Over { listener, answers: Err(error) };
    }
    let task = |_| {
        let (queue, streams, target) = (queue.clone(), streams.clone(), listener.target.clone());
        tokio::task::spawn_local(async move {
            let mut answers = Vec::new();
            while let Some((number, check)) = queue.take() {
                let message = ask(&streams, &target, check).await.ok();
                answers.push((number, message.and_then(|message| Observed::read(&message, check.rtype))));
                queue.note_done();
            }
            answers
        })
    };
    let answers = gather(&queue, (0..AT_ONCE).map(task).collect()).await;
    Over { listener, answers: Ok(answers) }
}

#[expect(clippy::disallowed_methods, reason = "a deadline is measured by the clock")]
async fn ask(streams: &Streams, target: &Target, check: &Check) -> io::Result<Vec<u8>> {
    let query = with_id(&query(&check.name, check.rtype), rand::random());
    let message = streams.ask(target, &query, LOSSES_MAX, std::time::Instant::now() + WAIT).await?;
    if is_answer(&query, &message) {
        return Ok(message);
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "the response does not match the query"))
}

fn seed() -> io::Result<[u8; 32]> {
    use rand::TryRng;
    let mut seed = [0; 32];
    rand::rngs::SysRng.try_fill_bytes(&mut seed).map_err(io::Error::other)?;
    Ok(seed)
}
