//! What the encrypted listeners keep secret, read from its files with what is wrong or risky about it: the certificate, and the keys of
//! tickets that servers share.

#![expect(clippy::disallowed_methods, reason = "certificates are files, and expire by the clock")]

use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::watch::sibling;
use crate::document::{Diagnostic, Problems, Severity};
use crate::reload::Loaded;
use crate::server::{Certificate, CertificateError, Shared, TicketKeys};

/// A certificate that expires sooner than this is warned of.
const SOON: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Files that others than owner and group may read or write have this in their mode.
const BY_OTHERS: u32 = 0o007;

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Secrets {
    certificate: Option<Certificate>,
    /// Keys that servers share, or that there are to be none; nothing: they cannot be used.
    ticket_keys: Option<Option<TicketKeys>>,
}

impl Secrets {
    /// Has listeners use it from now on. In the place of what cannot be used, that before it is used on: new listeners need it, and so
    /// do those that stay.
    pub(super) fn put_to_use(self, shared: &Shared) {
        if self.certificate.is_some() {
            shared.certificates.replace(self.certificate);
        }
        if let Some(keys) = self.ticket_keys {
            shared.tickets.replace(keys);
        }
    }
}

/// Reads what the settings in the file at `path` name, where a listener needs it. What keeps it from being used is a problem of
/// severity `broken`.
pub(super) fn read(path: &Path, loaded: &Loaded, broken: Severity) -> (Secrets, Problems) {
    let mut problems = Problems::default();
    if !loaded.settings.listen.is_encrypted() {
        return (Secrets { certificate: None, ticket_keys: Some(None) }, problems);
    }
    let (certificate, of_certificate) = read_certificate(path, loaded, broken);
    let (ticket_keys, of_keys) = read_ticket_keys(path, loaded, broken);
    problems.extend(of_certificate);
    problems.extend(of_keys);
    (Secrets { certificate, ticket_keys }, problems)
}

/// Reads the file of `[tls] ticket_keys`, of whose lines none is told: they are secret.
fn read_ticket_keys(path: &Path, loaded: &Loaded, broken: Severity) -> (Option<Option<TicketKeys>>, Problems) {
    let mut problems = Problems::default();
    let Some((file, span)) = &loaded.settings.tls.ticket_keys else { return (Some(None), problems) };
    let mut note = |severity, message: String, hint: &str| {
        problems.push(problem(path, loaded, severity, span, message, hint));
    };
    let place = sibling(path, file);
    let keys = match std::fs::read_to_string(&place) {
        Ok(text) => TicketKeys::parse(&text).map_err(|error| error.to_string()),
        Err(error) => Err(format!("cannot be read: {error}")),
    };
    if std::fs::metadata(&place).is_ok_and(|metadata| metadata.mode() & BY_OTHERS != 0) {
        let message = format!("\"{}\" may be read or written by everybody", file.escape_debug());
        note(
            Severity::Warning,
            message,
            "whoever has its keys can read what was sent in resumed sessions: `chmod 0640`",
        );
    }
    match keys {
        Ok(keys) => (Some(Some(keys)), problems),
        Err(error) => {
            let hint = "a key a line, the first seals: `openssl rand -base64 32`";
            note(broken, format!("\"{}\" {error}", file.escape_debug()), hint);
            (None, problems)
        }
    }
}

/// A problem with what a place in the settings names.
fn problem(
    path: &Path,
    loaded: &Loaded,
    severity: Severity,
    span: &Range<usize>,
    message: String,
    hint: &str,
) -> Diagnostic {
    match &loaded.source {
        Some(source) => Diagnostic::at(severity, source, span.clone(), message, hint),
        None => Diagnostic::of_file(severity, path.display().to_string(), message, hint),
    }
}

/// Reads the certificate and the private key that the settings name.
fn read_certificate(path: &Path, loaded: &Loaded, broken: Severity) -> (Option<Certificate>, Problems) {
    let settings = &loaded.settings;
    let mut problems = Problems::default();
    let mut note = |severity, span: &Range<usize>, message: String, hint: &str| {
        problems.push(problem(path, loaded, severity, span, message, hint));
    };
    let [chain, key] = [&settings.tls.certificate, &settings.tls.private_key].map(|(file, span)| {
        std::fs::read(sibling(path, file)).map_err(|error| {
            let message = format!("\"{}\" cannot be read: {error}", file.escape_debug());
            note(broken, span, message, "a file in PEM, relative to this one, that the user of the process may read");
        })
    });
    let (Ok(chain), Ok(key)) = (chain, key) else { return (None, problems) };
    let certificate = match Certificate::from_pem(&chain, &key) {
        Ok(certificate) => certificate,
        Err(error) => {
            let ((file, span), hint) = match &error {
                CertificateError::Chain(_) => (
                    &settings.tls.certificate,
                    "certificates in PEM: the server's own first, then those between it and an authority",
                ),
                CertificateError::Key(_) => (&settings.tls.private_key, "the private key of that certificate, in PEM"),
            };
            note(broken, span, format!("\"{}\" {error}", file.escape_debug()), hint);
            return (None, problems);
        }
    };
    let (file, span) = &settings.tls.certificate;
    let left = certificate.not_after().duration_since(SystemTime::now()).unwrap_or_default();
    if left < SOON {
        let days = left.as_secs() / (24 * 60 * 60);
        let what = if left.is_zero() { "has expired".to_owned() } else { format!("expires in {days} days") };
        note(
            Severity::Warning,
            span,
            format!("\"{}\" {what}", file.escape_debug()),
            "renew it; the new one is read when the file changes",
        );
    }
    if let Some((name, span)) = &settings.tls.name
        && !certificate.is_for(&name.to_string())
    {
        let hint = "clients that are told this name look for it in the certificate";
        note(Severity::Warning, span, format!("{name} is not in the certificate"), hint);
    }
    (Some(certificate), problems)
}
