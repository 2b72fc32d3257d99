//! Whose certificates upstreams may show, and the telling of those that were refused.
//!
//! The public authorities are built in, so that a static binary in an empty container has them; a file of the
//! settings adds private ones. What cannot be verified is not asked: there is no way to turn that off.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject};
use tokio_rustls::rustls::{ClientConfig, Error as TlsError, RootCertStore};

use super::fault::Fault;
use crate::forward::Target;

/// How often the same trouble with the same upstream is told.
const TELL_INTERVAL: Duration = Duration::from_secs(60);

/// Authorities beside the public ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Authorities(Vec<CertificateDer<'static>>);

impl Authorities {
    /// Reads a file of certificates in PEM (RFC 7468).
    ///
    /// # Errors
    /// No certificate in it, or one that is not valid.
    pub fn from_pem(pem: &[u8]) -> Result<Self, AuthoritiesError> {
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let certificates = read.map_err(AuthoritiesError::Certificate)?;
        if certificates.is_empty() {
            return Err(AuthoritiesError::Empty);
        }
        let mut store = RootCertStore::empty();
        for certificate in &certificates {
            store.add(certificate.clone()).map_err(AuthoritiesError::Authority)?;
        }
        Ok(Self(certificates))
    }

    /// These and others.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }
}

/// Why a file of authorities is not taken; goes on after the file's name.
#[derive(Debug, thiserror::Error)]
pub enum AuthoritiesError {
    /// It has something that looks like a certificate.
    #[error("contains an invalid certificate: {0}")]
    Certificate(PemError),
    /// It has none.
    #[error("holds no certificate")]
    Empty,
    /// A certificate cannot sign others.
    #[error("contains a certificate that is not a valid authority: {0}")]
    Authority(TlsError),
}

/// What TLS towards upstreams is opened with; all workers share it, a reload swaps it.
pub struct Trust {
    config: ArcSwap<Config>,
    authorities: Mutex<Authorities>,
    told: Mutex<HashMap<(Target, &'static str), Instant>>,
}

/// A configuration, or why there is none.
pub(super) type Config = Result<Arc<ClientConfig>, TlsError>;

impl Trust {
    /// Trusts the public authorities and these.
    pub fn new(authorities: &Authorities) -> Self {
        Self {
            config: ArcSwap::from_pointee(configure(authorities)),
            authorities: Mutex::new(authorities.clone()),
            told: Mutex::default(),
        }
    }

    /// Trusts these from now on, instead of those before. Where they are others, open connections take no more
    /// queries.
    pub fn replace(&self, authorities: &Authorities) {
        let mut known = self.authorities.lock();
        if *known == *authorities {
            return;
        }
        known.clone_from(authorities);
        self.config.store(Arc::new(configure(authorities)));
    }

    /// The configuration of now; another one has another address.
    pub(super) fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    /// Tells the operator why asking an upstream failed, unless the same was told a moment ago.
    pub(super) fn tell(&self, target: &Target, fault: &Fault, now: Instant) {
        let is_new = {
            let mut told = self.told.lock();
            told.retain(|_, at| now.saturating_duration_since(*at) < TELL_INTERVAL);
            let key = (target.clone(), fault.cause);
            let is_new = !told.contains_key(&key);
            told.entry(key).or_insert(now);
            is_new
        };
        if is_new {
            tracing::warn!(upstream = %target, cause = fault.cause, "upstream query failed: {fault}");
        }
    }
}

fn configure(authorities: &Authorities) -> Config {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    roots.add_parsable_certificates(authorities.0.iter().cloned());
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_authorities_is_refused() {
        for (pem, expected) in [
            ("", "holds no certificate"),
            ("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", "contains an invalid certificate"),
            ("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n", "not a valid authority"),
        ] {
            let error = Authorities::from_pem(pem.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn public_authorities_are_always_there() {
        let trust = Trust::new(&Authorities::default());
        assert!(trust.config().is_ok());
        let before = trust.config();
        trust.replace(&Authorities::default());
        assert!(Arc::ptr_eq(&before, &trust.config()), "a reload that changes nothing leaves connections be");
        trust.replace(&Authorities(vec![CertificateDer::from(vec![0])]));
        assert!(!Arc::ptr_eq(&before, &trust.config()), "another one is noticed");
    }
}
