//! Why a query by a connection came to nothing.

use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Instant;

use tokio_rustls::rustls::{CertificateError, Error as TlsError};

/// Characters of a text that the other side may have written.
const TEXT_MAX: usize = 200;

/// A reason that all queries of a connection can be told.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    kind: io::ErrorKind,
    /// What operators may count: one of a few words.
    pub(super) cause: &'static str,
    /// The reason as a sentence's end.
    text: Rc<str>,
    /// When the connection was lost, where it had answered others before: then the query is worth another one.
    pub(super) lost: Option<Instant>,
}

impl Fault {
    /// A reason found here.
    pub(super) fn new(kind: io::ErrorKind, cause: &'static str, text: impl Into<Rc<str>>) -> Self {
        Self { kind, cause, text: text.into(), lost: None }
    }

    /// The same, for a query that went down with its connection.
    pub(super) fn lost_at(self, lost: Option<Instant>) -> Self {
        Self { lost, ..self }
    }

    /// The connection ended with queries on it.
    pub(super) fn closed() -> Self {
        Self::new(io::ErrorKind::UnexpectedEof, "closed", "it closed the connection before it answered")
    }

    /// Nothing came in time.
    pub(super) fn silent(text: &'static str) -> Self {
        Self::new(io::ErrorKind::TimedOut, "silent", text)
    }

    /// What is not DNS, or not HTTP. The text may quote the other side, and so is cut.
    pub(super) fn nonsense(text: &str) -> Self {
        let text: String = text.chars().take(TEXT_MAX).collect();
        Self::new(io::ErrorKind::InvalidData, "protocol", text)
    }

    /// What opening, reading or writing said.
    pub(super) fn of(error: &io::Error) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        if let Some(error) = inner {
            return Self::of_tls(error);
        }
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::closed(),
            io::ErrorKind::TimedOut => Self::silent("it does not answer"),
            kind => Self::new(kind, "connection", error.to_string()),
        }
    }

    /// What TLS said.
    pub(super) fn of_tls(error: &TlsError) -> Self {
        let (cause, text) = match error {
            TlsError::InvalidCertificate(error) => of_certificate(error),
            error => ("tls", error.to_string()),
        };
        Self::new(io::ErrorKind::PermissionDenied, cause, text)
    }
}

fn of_certificate(error: &CertificateError) -> (&'static str, String) {
    use CertificateError as E;
    match error {
        E::Expired | E::ExpiredContext { .. } => ("certificate expired", "its certificate has expired".to_owned()),
        E::NotValidYet | E::NotValidYetContext { .. } => (
            "certificate not valid yet",
            "its certificate is not valid yet: is this machine's clock right?".to_owned(),
        ),
        E::NotValidForName | E::NotValidForNameContext { .. } => (
            "certificate for another name",
            format!("its certificate is for another name than the one behind # in the rule: {error}"),
        ),
        // A bad signature is what an authority of the same name with another key looks like.
        E::UnknownIssuer | E::BadSignature => (
            "certificate of an unknown authority",
            "its certificate is signed by no authority that is trusted; `[tls] upstream_ca` names a file of further ones"
                .to_owned(),
        ),
        error => ("certificate", format!("its certificate is refused: {error}")),
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::of(&error)
    }
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> Self {
        Self::new(fault.kind, &*fault.text)
    }
}
