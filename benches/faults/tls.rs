//! Certificates of upstreams.

use std::sync::{Arc, LazyLock};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// The name that certificates are for.
pub(crate) const NAME: &str = "dns.example";

/// What upstreams show, and the authority that has signed it.
#[derive(Clone)]
pub(crate) struct Certificates {
    pub(crate) authority: String,
    pub(crate) valid: Arc<ServerConfig>,
    pub(crate) expired: Arc<ServerConfig>,
}

impl Certificates {
    /// Those of this process.
    pub(crate) fn shared() -> Self {
        static ALL: LazyLock<Certificates> = LazyLock::new(Certificates::new);
        ALL.clone()
    }

    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are valid names");
        params.distinguished_name.push(DnType::CommonName, "authority of a benchmark");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("ring makes keys");
        let authority = params.self_signed(&key).expect("the key signs").pem();
        let issuer = Issuer::new(params, key);
        let config = |until| {
            let mut params = CertificateParams::new(vec![NAME.to_owned()]).expect("the name is valid");
            (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(until, 1, 1));
            let key = KeyPair::generate().expect("ring makes keys");
            let certificate = params.signed_by(&key, &issuer).expect("the key signs");
            let key = PrivateKeyDer::try_from(key.serialize_der()).expect("the key was just written");
            let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_safe_default_protocol_versions()
                .expect("ring has the usual versions")
                .with_no_client_auth()
                .with_single_cert(vec![certificate.der().clone()], key);
            Arc::new(config.expect("the key is the certificate's"))
        };
        Self { valid: config(2100), expired: config(2021), authority }
    }
}
