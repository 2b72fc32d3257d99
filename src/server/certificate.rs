//! The certificate that encrypted listeners show: read, checked, swapped by a reload.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use ring::hkdf::{HKDF_SHA256, Prk, Salt};
use tokio_rustls::rustls::client::verify_server_name;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{Error as TlsError, InconsistentKeys};

/// A chain of certificates with its private key.
#[derive(Debug, Clone)]
pub struct Certificate {
    key: Arc<CertifiedKey>,
    /// When the first of the chain expires.
    not_after: SystemTime,
    /// A secret that whoever has the private key has.
    #[cfg_attr(not(feature = "quic"), expect(dead_code, reason = "what is derived of it is QUIC's"))]
    derived: Prk,
}

/// Why a certificate cannot be used, and which of the two files says so.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The file of certificates is at fault.
    #[error("{0}")]
    Chain(String),
    /// The file of the private key is at fault.
    #[error("{0}")]
    Key(String),
}

impl Certificate {
    /// Takes a chain, the server's own certificate first, and its private key, both in PEM (RFC 7468).
    ///
    /// # Errors
    /// What is wrong with one of the two, or that they do not belong together.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
        let chain = read.map_err(|error| CertificateError::Chain(format!("is not PEM: {error}")))?;
        let Some(first) = chain.first() else {
            return Err(CertificateError::Chain("has no certificate in PEM".to_owned()));
        };
        let not_after = not_after(first)
            .ok_or_else(|| CertificateError::Chain("has a certificate that cannot be read".to_owned()))?;
        ParsedCertificate::try_from(first)
            .map_err(|error| CertificateError::Chain(format!("has a certificate that cannot be used: {error}")))?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| {
            CertificateError::Key(match error {
                PemError::NoItemsFound => "has no private key in PEM".to_owned(),
                error => format!("is not PEM: {error}"),
            })
        })?;
        let derived = Salt::new(HKDF_SHA256, b"pldns").extract(key.secret_der());
        let key = CertifiedKey::from_der(chain, key, &default_provider()).map_err(|error| {
            CertificateError::Key(match error {
                TlsError::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                    "is not the private key of the first certificate in `certificate`".to_owned()
                }
                error => format!("has a private key that cannot be used: {error}"),
            })
        })?;
        Ok(Self { key: Arc::new(key), not_after, derived })
    }

    /// When it expires.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// A secret that the next process has as well, and every server with the same private key.
    #[cfg(feature = "quic")]
    pub(super) fn derived(&self) -> &Prk {
        &self.derived
    }

    /// Whether it is for a host name.
    pub fn is_for(&self, name: &str) -> bool {
        let first = self.key.end_entity_cert().ok().and_then(|first| ParsedCertificate::try_from(first).ok());
        let name = ServerName::try_from(name.trim_end_matches('.')).ok();
        first.zip(name).is_some_and(|(first, name)| verify_server_name(&first, &name).is_ok())
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.key.cert == other.key.cert
    }
}

/// The certificate of now, for handshakes that begin now. Connections that are open do not notice a change.
#[derive(Default)]
pub struct Certificates(ArcSwapOption<Certificate>);

impl Certificates {
    /// Shows this one from now on.
    pub fn replace(&self, certificate: Option<Certificate>) {
        self.0.store(certificate.map(Arc::new));
    }

    /// The one that is shown.
    pub fn current(&self) -> Option<Arc<Certificate>> {
        self.0.load_full()
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load().as_ref().map(|certificate| certificate.key.clone())
    }
}

/// The end of a certificate's validity (RFC 5280 §4.1.2.5).
fn not_after(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let (_, certificate, _) = element(certificate)?;
    let (_, signed, _) = element(certificate)?;
    let mut rest = signed;
    // A version may stand in front of the serial number.
    let (tag, _, behind) = element(rest)?;
    if tag == 0xa0 {
        rest = behind;
    }
    // Serial number, algorithm, issuer; then the validity.
    for _ in 0..3 {
        (_, _, rest) = element(rest)?;
    }
    let (_, validity, _) = element(rest)?;
    let (_, _, behind) = element(validity)?;
    let (tag, text, _) = element(behind)?;
    time(tag, text)
}

/// Tag and content of the first element in DER, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, len], rest) = der.split_first_chunk::<2>()?;
    let (len, rest) = match len {
        0..0x80 => (usize::from(len), rest),
        _ => {
            let (len, rest) = rest.split_at_checked(usize::from(len & 0x7f))?;
            let len = len.iter().try_fold(0_usize, |sum, &byte| sum.checked_mul(256)?.checked_add(byte.into()))?;
            (len, rest)
        }
    };
    let (content, rest) = rest.split_at_checked(len)?;
    Some((tag, content, rest))
}

/// A UTCTime (`YYMMDDHHMMSSZ`) or GeneralizedTime (`YYYYMMDDHHMMSSZ`).
fn time(tag: u8, text: &[u8]) -> Option<SystemTime> {
    let digits = text.strip_suffix(b"Z")?;
    let number = |digits: &[u8]| std::str::from_utf8(digits).ok()?.parse::<u64>().ok();
    let (year, rest) = match tag {
        0x17 => {
            let (year, rest) = digits.split_at_checked(2)?;
            let year = number(year)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        0x18 => {
            let (year, rest) = digits.split_at_checked(4)?;
            (number(year)?, rest)
        }
        _ => return None,
    };
    let mut parts = rest.chunks(2).map(number);
    let [month, day, hour, minute, second] = [(); 5].map(|()| parts.next().flatten());
    let days = days_since_1970(year, month?, day?)?;
    let seconds = days.checked_mul(86_400)?.checked_add(hour? * 3600 + minute? * 60 + second?)?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// Days from 1970-01-01 to a day of the Gregorian calendar.
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years begin in March, so that the day that is sometimes there is the last one.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    days.checked_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(time: SystemTime) -> u64 {
        time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
    }

    #[test]
    fn times_of_certificates() {
        for (tag, text, expected) in [
            (0x17, "700101000000Z", 0),
            (0x17, "000229120000Z", 951_825_600),
            (0x17, "491231235959Z", 2_524_607_999),
            (0x18, "20501231235959Z", 2_556_143_999),
            (0x18, "21000301000000Z", 4_107_542_400),
        ] {
            assert_eq!(time(tag, text.as_bytes()).map(seconds), Some(expected), "{text}");
        }
        for (tag, text) in
            [(0x17, "7001010000Z"), (0x17, "701301000000Z"), (0x17, "70010100000"), (0x04, "700101000000Z")]
        {
            assert_eq!(time(tag, text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn cut_der_is_no_certificate() {
        let pair = rcgen::generate_simple_self_signed(["dns.example".to_owned()]).unwrap();
        let der = pair.cert.der();
        assert!(not_after(der).is_some());
        for len in 0..60 {
            assert_eq!(not_after(&CertificateDer::from(der[..len].to_vec())), None);
        }
    }

    #[test]
    fn chain_and_key_must_belong_together() {
        let make = || rcgen::generate_simple_self_signed(["dns.example".to_owned()]).unwrap();
        let (one, other) = (make(), make());
        let (chain, key) = (one.cert.pem(), one.signing_key.serialize_pem());
        let certificate = Certificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
        assert!(certificate.is_for("dns.example") && certificate.is_for("DNS.example."));
        assert!(!certificate.is_for("other.example"));
        assert!(seconds(certificate.not_after()) > 60_000_000_000, "rcgen's certificates end in 4096");
        let error = |chain: &str, key: &str| Certificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap_err();
        let mismatch = error(&chain, &other.signing_key.serialize_pem());
        assert!(matches!(&mismatch, CertificateError::Key(text) if text.contains("not the private key")), "{mismatch}");
        assert!(matches!(error("", &key), CertificateError::Chain(_)));
        assert!(matches!(error(&key, &key), CertificateError::Chain(_)));
        assert!(matches!(error(&chain, ""), CertificateError::Key(_)));
        assert!(matches!(error(&chain, &chain), CertificateError::Key(_)));
        let cut = &chain[..chain.len() / 2];
        assert!(matches!(error(cut, &key), CertificateError::Chain(_)));
    }
}
