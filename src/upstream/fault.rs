//! Why a query by a connection came to nothing.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use tokio_rustls::rustls::{CertificateError, Error as TlsError};

use crate::forward::{Trouble, TroubleKind};

/// How the causes begin that concern the certificate.
const CERTIFICATE: &str = "certificate";
/// Characters of a text that the other side may have written.
const TEXT_MAX: usize = 200;

/// A reason that all queries of a connection can be told.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    kind: io::ErrorKind,
    /// What operators may count: one of a few words.
    pub(super) cause: &'static str,
    /// The reason in few words, where they are not those of its kind.
    short: &'static str,
    /// The reason as a sentence's end.
    text: Arc<str>,
    /// When the connection was lost, where it had answered others before: then the query is worth another one.
    pub(super) lost: Option<Instant>,
}

impl Fault {
    /// A reason found here.
    pub(super) fn new(kind: io::ErrorKind, cause: &'static str, text: impl Into<Arc<str>>) -> Self {
        Self { kind, cause, short: "", text: text.into(), lost: None }
    }

    /// The same, for a query that went down with its connection.
    pub(super) fn lost_at(self, lost: Option<Instant>) -> Self {
        Self { lost, ..self }
    }

    /// The connection ended with queries on it.
    pub(super) fn closed() -> Self {
        Self::new(io::ErrorKind::UnexpectedEof, "closed", "it closed the connection before it answered")
    }

    /// Whether a connection that was open broke.
    pub(super) fn is_break(&self) -> bool {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        matches!(self.kind, BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
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
        let (cause, short, text) = match error {
            TlsError::InvalidCertificate(error) => of_certificate(error),
            error => ("tls", "", error.to_string()),
        };
        Self { short, ..Self::new(io::ErrorKind::PermissionDenied, cause, text) }
    }
}

fn of_certificate(error: &CertificateError) -> (&'static str, &'static str, String) {
    use CertificateError as E;
    match error {
        E::Expired | E::ExpiredContext { .. } => ("certificate expired", "certificate has expired", "its certificate has expired".to_owned()),
        E::NotValidYet | E::NotValidYetContext { .. } => (
            "certificate not valid yet",
            "certificate is not valid yet",
            "its certificate is not valid yet: is this machine's clock right?".to_owned(),
        ),
        E::NotValidForName | E::NotValidForNameContext { .. } => (
            "certificate for another name",
            "certificate is for another name",
            format!("its certificate is for another name than the rule gives it, behind # or else by its address: {error}"),
        ),
        // A bad signature is what an authority of the same name with another key looks like.
        E::UnknownIssuer | E::BadSignature => (
            "certificate of an unknown authority",
            "certificate is of an unknown authority",
            "its certificate is signed by no authority that is trusted; `[tls] upstream_ca` names a file of further ones"
                .to_owned(),
        ),
        error => ("certificate", "certificate is refused", format!("its certificate is refused: {error}")),
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

impl Error for Fault {}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> Self {
        Self::new(fault.kind, fault)
    }
}

/// What an error of a query's transport means for further ones, and in few words for clients.
pub fn trouble_of(error: &io::Error) -> Trouble {
    let fault = error.get_ref().and_then(|inner| inner.downcast_ref::<Fault>());
    if let Some(fault) = fault.filter(|fault| fault.cause.starts_with(CERTIFICATE)) {
        return Trouble { text: fault.short.into(), kind: TroubleKind::Certificate };
    }
    let (text, kind) = match error.kind() {
        io::ErrorKind::ConnectionRefused => ("connection refused", TroubleKind::Refused),
        io::ErrorKind::ConnectionReset => ("connection reset", TroubleKind::Other),
        io::ErrorKind::UnexpectedEof => ("connection closed", TroubleKind::Other),
        io::ErrorKind::TimedOut => ("timed out", TroubleKind::Other),
        io::ErrorKind::HostUnreachable => ("host unreachable", TroubleKind::Other),
        io::ErrorKind::NetworkUnreachable => ("network unreachable", TroubleKind::Other),
        io::ErrorKind::PermissionDenied if fault.is_some() => ("TLS handshake failed", TroubleKind::Other),
        io::ErrorKind::PermissionDenied => ("not permitted", TroubleKind::Other),
        io::ErrorKind::InvalidData => ("not a DNS answer", TroubleKind::Other),
        _ => ("cannot be reached", TroubleKind::Other),
    };
    Trouble { text: text.into(), kind }
}
