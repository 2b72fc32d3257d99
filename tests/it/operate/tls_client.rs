//! Clients of encrypted listeners, by hand: TLS from rustls, the framing of DNS over TLS, HTTP/1.1 and HTTP/2.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};

use super::server::{SOON, Scratch};

/// The name in the certificates.
pub(crate) const NAME: &str = "dns.example";

/// A certificate, its own authority, and its private key, in PEM.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) chain: String,
    pub(crate) key: String,
}

impl Pair {
    /// One for [`NAME`] that expires in a year of this century.
    pub(crate) fn new(expires: i32) -> Self {
        let mut params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(expires, 1, 1));
        let key = KeyPair::generate().unwrap();
        Self { chain: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
    }

    /// Writes both files where [`SETTINGS`](super::encrypted) has them.
    pub(crate) fn write(&self, dir: &Scratch) {
        dir.write("key.pem", &self.key);
        dir.write("chain.pem", &self.chain);
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.chain.as_bytes()).unwrap()
    }

    /// What a client is made with that trusts this certificate alone.
    pub(crate) fn client(&self, alpn: &[&[u8]], versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_protocol_versions(versions).unwrap();
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Arc::new(config)
    }
}

pub(crate) type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// A connection whose handshake is made.
pub(crate) fn connect(to: SocketAddr, config: &Arc<ClientConfig>) -> std::io::Result<TlsStream> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(SOON))?;
    let name = ServerName::try_from(NAME).unwrap();
    let mut connection = ClientConnection::new(config.clone(), name).unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    Ok(StreamOwned::new(connection, stream))
}

/// Sends a message with its length in front, and receives one.
pub(crate) fn ask(stream: &mut (impl Read + Write), message: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(&[&(message.len() as u16).to_be_bytes()[..], message].concat())?;
    let mut len = [0; 2];
    stream.read_exact(&mut len)?;
    let mut reply = vec![0; usize::from(u16::from_be_bytes(len))];
    stream.read_exact(&mut reply)?;
    Ok(reply)
}

/// A response by HTTP.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// In lower case; of HTTP/2 a line each.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// Sends a request as it is written and reads one response; the connection stays open where the server lets it.
pub(crate) fn http1(stream: &mut (impl Read + Write), request: &[u8]) -> std::io::Result<Response> {
    // What is too long is answered before it is read.
    let _ = stream.write_all(request);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let head = head.replace("\r\n", "\n");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut response = Response { status, head, body: Vec::new() };
    let len = response.header("content-length").map_or(0, |len| len.parse().unwrap());
    response.body = vec![0; if request.starts_with(b"HEAD ") { 0 } else { len }];
    stream.read_exact(&mut response.body)?;
    Ok(response)
}

pub(crate) fn post(message: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /dns-query HTTP/1.1\r\nHost: {NAME}\r\nContent-Type: application/dns-message\r\nContent-Length: {}\r\n\r\n",
        message.len()
    );
    [head.as_bytes(), message].concat()
}

pub(crate) fn get(message: &[u8]) -> Vec<u8> {
    let dns = data_encoding::BASE64URL_NOPAD.encode(message);
    format!("GET /dns-query?dns={dns} HTTP/1.1\r\nHost: {NAME}\r\nAccept: application/dns-message\r\n\r\n").into_bytes()
}

/// What `work` does with a connection by HTTP/2, on a runtime of its own.
pub(crate) fn http2<R, F: Future<Output = R>>(
    to: SocketAddr,
    config: &Arc<ClientConfig>,
    work: impl FnOnce(h2::client::SendRequest<Bytes>) -> F,
) -> R {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(to).await.unwrap();
        let name = ServerName::try_from(NAME).unwrap();
        let stream = tokio_rustls::TlsConnector::from(config.clone()).connect(name, stream).await.unwrap();
        let (send, connection) = h2::client::handshake(stream).await.unwrap();
        let driving = tokio::spawn(connection);
        let result = tokio::time::timeout(SOON + Duration::from_secs(5), work(send)).await.expect("no end");
        driving.abort();
        result
    })
}

/// One request by HTTP/2.
pub(crate) async fn request(
    send: &mut h2::client::SendRequest<Bytes>,
    method: &str,
    target: &str,
    body: Option<&[u8]>,
) -> Result<Response, h2::Error> {
    let mut builder = http::Request::builder().method(method).uri(format!("https://{NAME}{target}"));
    if body.is_some() {
        builder = builder.header("content-type", "application/dns-message");
    }
    let request = builder.body(()).unwrap();
    let (response, mut stream) = send.clone().ready().await?.send_request(request, body.is_none())?;
    if let Some(body) = body {
        stream.send_data(Bytes::copy_from_slice(body), true)?;
    }
    let response = response.await?;
    let head = response.headers().iter().map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap()));
    let (status, head) = (response.status().as_u16(), head.collect());
    let mut received = response.into_body();
    let mut body = Vec::new();
    while let Some(data) = received.data().await {
        let data = data?;
        received.flow_control().release_capacity(data.len())?;
        body.extend_from_slice(&data);
    }
    Ok(Response { status, head, body })
}

/// A raw connection from an address of loopback.
pub(crate) fn connect_from(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(IpAddr::from(from), 0).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}
