//! Clients: connections that ask one query and then wait, queries that no upstream answers, names to be cached.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error as TlsError, SignatureScheme, StreamOwned,
};

use crate::dns::{A, Asked, address_of, query};
use crate::servers::{NAME, RECORD, Server};

/// How long a client waits for anything.
const SOON: Duration = Duration::from_secs(5);
/// Below this name the upstream is silent.
const SILENT: &str = "silent.example";
/// Queries for names to be cached that are outstanding at the same time.
const WINDOW: usize = 64;

/// How a connection carries queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Tls,
    Https,
}

/// A connection that waits, kept open as long as this is.
pub(crate) struct Idle(TcpStream, #[expect(dead_code, reason = "its state belongs to the connection")] Option<Tls>);

type Tls = Box<ClientConnection>;

impl Transport {
    pub(crate) const ALL: [Self; 3] = [Self::Tcp, Self::Tls, Self::Https];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Https => "HTTPS",
        }
    }

    /// Opens connections to a server; each has one query answered.
    pub(crate) fn open(self, server: &Server, count: usize) -> io::Result<Vec<Idle>> {
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anything))
            .with_no_client_auth();
        // Each client is another one, which has no session to resume.
        config.resumption = Resumption::disabled();
        config.alpn_protocols = vec![if self == Self::Https { b"h2".to_vec() } else { b"dot".to_vec() }];
        let config = Arc::new(config);
        let port = match self {
            Self::Tcp => server.running.address.port(),
            Self::Tls => server.tls,
            Self::Https => server.https,
        };
        (0..count).map(|_| self.open_one(SocketAddr::from(([127, 0, 0, 1], port)), &config)).collect()
    }

    fn open_one(self, to: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<Idle> {
        let mut stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SOON))?;
        let message = query(7, RECORD, A);
        if self == Self::Tcp {
            ask(&mut stream, &message)?;
            return Ok(Idle(stream, None));
        }
        let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
        let connection = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, stream);
        if self == Self::Https {
            ask_http2(&mut stream, &message)?
        } else {
            ask(&mut stream, &message)?
        }
        let (connection, stream) = stream.into_parts();
        Ok(Idle(stream, Some(Box::new(connection))))
    }
}

impl Idle {
    /// Whether the server left it open. What it sent is read, and nothing after it can be.
    pub(crate) fn is_open(&self) -> bool {
        let mut stream = &self.0;
        let mut read = stream.set_nonblocking(true).map(|()| 1);
        while read.as_ref().is_ok_and(|&count| count > 0) {
            read = stream.read(&mut [0; 512]);
        }
        read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// One query with its length in front, and its reply.
fn ask(stream: &mut (impl Read + Write), message: &[u8]) -> io::Result<()> {
    let len = u16::try_from(message.len()).map_err(io::Error::other)?;
    stream.write_all(&[&len.to_be_bytes()[..], message].concat())?;
    let mut len = [0; 2];
    stream.read_exact(&mut len)?;
    stream.read_exact(&mut vec![0; usize::from(u16::from_be_bytes(len))])
}

/// One query by HTTP/2 (RFC 9113), and its reply to the end.
fn ask_http2(stream: &mut (impl Read + Write), message: &[u8]) -> io::Result<()> {
    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    const SETTINGS: u8 = 4;
    const END_STREAM_OR_ACK: u8 = 1;
    let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        let [.., a, b, c] = payload.len().to_be_bytes();
        [&[a, b, c, kind, flags, 0, 0, 0, stream], payload].concat()
    };
    let path = format!("/dns-query?dns={}", BASE64URL_NOPAD.encode(message));
    let mut head = Vec::new();
    for (name, value) in [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", NAME),
        (":path", &path),
        ("accept", "application/dns-message"),
    ] {
        // Literals without indexing (RFC 7541 §6.2.2); each is shorter than 127 bytes.
        head.extend([0, name.len() as u8]);
        head.extend(name.as_bytes());
        head.push(value.len() as u8);
        head.extend(value.as_bytes());
    }
    let end_of_head = 4;
    let request = [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
        &frame(SETTINGS, 0, 0, &[]),
        &frame(HEADERS, END_STREAM_OR_ACK | end_of_head, 1, &head),
    ];
    stream.write_all(&request.concat())?;
    loop {
        let mut header = [0; 9];
        stream.read_exact(&mut header)?;
        let [a, b, c, kind, flags, ..] = header;
        stream.read_exact(&mut vec![0; u32::from_be_bytes([0, a, b, c]) as usize])?;
        let is_flagged = flags & END_STREAM_OR_ACK != 0;
        match kind {
            SETTINGS if !is_flagged => stream.write_all(&frame(SETTINGS, END_STREAM_OR_ACK, 0, &[]))?,
            DATA | HEADERS if is_flagged => return Ok(()),
            _ => {}
        }
    }
}

/// Takes any certificate: the benchmark made it.
#[derive(Debug)]
struct Anything;

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// Sends queries that the upstream does not answer; the socket is to be kept as long as they wait.
pub(crate) fn wait_for_nothing(server: &Server, count: usize) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(server.running.address)?;
    for number in 0..count {
        socket.send(&query(number as u16, &format!("w{number}.{SILENT}"), A))?;
        if number.is_multiple_of(32) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(socket)
}

/// Has so many names asked for once; gives how many were answered.
pub(crate) fn fill_cache(server: &Server, count: usize) -> io::Result<usize> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(server.running.address)?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    let (mut sent, mut answered, mut lost) = (0, 0, 0);
    while answered + lost < count {
        while sent < count && sent - answered - lost < WINDOW {
            socket.send(&query(sent as u16, &format!("c{sent}.z{}.cached.example", sent % 64), A))?;
            sent += 1;
        }
        match socket.recv(&mut [0; 1500]) {
            Ok(_) => answered += 1,
            Err(_) => lost = sent - answered,
        }
    }
    Ok(answered)
}

/// An upstream that answers every name with an address, but for those below [`SILENT`]; it runs until it is dropped.
pub(crate) struct Upstream {
    pub(crate) port: u16,
    is_done: Arc<AtomicBool>,
}

impl Upstream {
    pub(crate) fn start() -> io::Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let (port, is_done) = (socket.local_addr()?.port(), Arc::<AtomicBool>::default());
        let until = is_done.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 1500];
            while !until.load(Ordering::Relaxed) {
                let Ok((len, from)) = socket.recv_from(&mut buffer) else { continue };
                let Some(asked) = Asked::parse(&buffer[..len]).filter(|asked| !asked.name.ends_with(SILENT)) else {
                    continue;
                };
                let label = asked.name.split('.').next().unwrap_or_default();
                let address = (asked.qtype == A).then(|| (address_of(label), 3600));
                let _ = socket.send_to(&asked.reply(&buffer[..len], &[], address), from);
            }
        });
        Ok(Self { port, is_done })
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.is_done.store(true, Ordering::Relaxed);
    }
}
