//! The certificate of the encrypted listeners: read from its two files, with what is wrong or risky about it.

#![expect(clippy::disallowed_methods, reason = "certificates are files, and expire by the clock")]

use std::ops::Range;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::watch::sibling;
use crate::document::{Diagnostic, Problems, Severity};
use crate::reload::Loaded;
use crate::server::{Certificate, CertificateError};

/// A certificate that expires sooner than this is warned of.
const SOON: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Reads the certificate and the private key that the settings in the file at `path` name, where a listener needs them. What
/// keeps them from being used is a problem of severity `broken`.
pub(super) fn read(path: &Path, loaded: &Loaded, broken: Severity) -> (Option<Certificate>, Problems) {
    let settings = &loaded.settings;
    let mut problems = Problems::default();
    if !settings.listen.is_encrypted() {
        return (None, problems);
    }
    let mut note = |severity, span: &Range<usize>, message: String, hint: &str| {
        problems.push(match &loaded.source {
            Some(source) => Diagnostic::at(severity, source, span.clone(), message, hint),
            None => Diagnostic::of_file(severity, path.display().to_string(), message, hint),
        });
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
