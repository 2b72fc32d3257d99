//! Settings as the program uses them, and their defaults with the reasons.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use ipnet::IpNet;

use super::azure::AzureSettings;
use crate::forward::{AZURE_DNS, Limits, Protocol, Target};
use crate::records::Zone;
use crate::wire::Name;

/// All settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `[listen]`
    pub listen: Listen,
    /// `[tls]` of the encrypted listeners.
    pub tls: TlsSettings,
    /// `[tls] upstream_ca`: a file of authorities beside the public ones, and its place in the settings.
    pub upstream_ca: Option<(String, Range<usize>)>,
    /// `[records]`
    pub records: RecordFiles,
    /// `[[zone]]`
    pub zones: Vec<Zone>,
    /// `[[forward]]`; the rule for `.` is always there.
    pub forwards: Vec<ForwardSpec>,
    /// `[[upstream]]`, and Azure DNS where it is not named.
    pub upstream_limits: Vec<(SocketAddr, Limits)>,
    /// `[cache]`
    pub cache: CacheSettings,
    /// `[process] workers`; 0: one per CPU that the process may use.
    pub workers: usize,
    /// `[process] max_memory`, bytes; nothing: a share of the memory that there is.
    pub max_memory: Option<u64>,
    /// `[process] user`: after binding, become this user; empty: stay.
    pub user: String,
    /// `[process] handover`: the Unix socket over which a new process takes over the sockets of the old; nothing: none.
    pub handover: Option<String>,
    /// `[process] confine`: give up what is not needed once the sockets are bound.
    pub confine: bool,
    /// `[admin]`
    pub admin: AdminSettings,
    /// `[log]`
    pub log: LogSettings,
    /// `[dnstap]`
    pub dnstap: DnstapSettings,
    /// `[access] allow`
    pub allow: Vec<IpNet>,
    /// `[azure]`
    pub azure: AzureSettings,
    /// Where settings are in the file that can only be judged on the machine.
    pub places: Places,
}

/// Places of settings in their file, in bytes; empty for those that have their default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Places {
    /// `[process] max_memory`
    pub max_memory: Range<usize>,
    /// `[process] user`
    pub user: Range<usize>,
    /// `[admin] token_file`
    pub token_file: Range<usize>,
    /// `[cache] max_size`
    pub cache_max_size: Range<usize>,
    /// `[listen] connections`
    pub connections: Range<usize>,
}

/// `[tls]`: the certificate of the encrypted listeners. File names are relative to the settings file, each with its place
/// in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// The chain, the server's own certificate first.
    pub certificate: (String, Range<usize>),
    /// Its private key.
    pub private_key: (String, Range<usize>),
    /// Keys of the tickets by which sessions are resumed; nothing: keys of the process's own.
    pub ticket_keys: Option<(String, Range<usize>)>,
    /// The name by which clients are told of the encrypted listeners (RFC 9462), and its place; nothing: they are not.
    pub name: Option<(Name, Range<usize>)>,
}

impl Default for TlsSettings {
    fn default() -> Self {
        Self {
            certificate: ("tls/fullchain.pem".to_owned(), 0..0),
            private_key: ("tls/key.pem".to_owned(), 0..0),
            ticket_keys: None,
            name: None,
        }
    }
}

impl Listen {
    /// Whether some listener needs a certificate.
    pub fn is_encrypted(&self) -> bool {
        !self.encrypted().is_empty()
    }

    /// The addresses of those that do.
    pub fn encrypted(&self) -> Vec<SocketAddr> {
        [&self.tls[..], &self.https, &self.quic].concat()
    }
}

/// `[admin]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AdminSettings {
    /// The file with the bearer token, relative to the settings file.
    pub token_file: Option<String>,
}

/// `[log]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSettings {
    /// What is said.
    pub level: LogLevel,
    /// How.
    pub format: LogFormat,
    /// One of so many queries is logged; 0: none.
    pub queries: u32,
}

/// `[dnstap]`; without socket and file it is off. Paths are relative to the settings file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnstapSettings {
    /// The Unix socket of a collector.
    pub socket: Option<String>,
    /// A file in the place of that.
    pub file: Option<String>,
    /// One of so many queries is sent.
    pub sample: u32,
    /// What the server calls itself; empty: the host's name.
    pub identity: String,
}

impl DnstapSettings {
    /// Whether queries are sent anywhere.
    pub fn is_on(&self) -> bool {
        self.socket.is_some() || self.file.is_some()
    }
}

impl Default for DnstapSettings {
    fn default() -> Self {
        Self { socket: None, file: None, sample: 1, identity: String::new() }
    }
}

/// `[log] level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Errors alone.
    Error,
    /// And warnings.
    Warn,
    /// And what is worth knowing.
    Info,
    /// And what helps to find faults.
    Debug,
    /// And each step.
    Trace,
}

impl LogLevel {
    /// All, with their words.
    pub const ALL: [(Self, &'static str); 5] = [
        (Self::Error, "error"),
        (Self::Warn, "warn"),
        (Self::Info, "info"),
        (Self::Debug, "debug"),
        (Self::Trace, "trace"),
    ];

    /// The level of a word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find_map(|(level, known)| (known == word).then_some(level))
    }
}

/// `[log] format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// Text.
    Text,
    /// A JSON object a line.
    Json,
}

/// Where queries come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Plain DNS, UDP and TCP on each.
    pub dns: Vec<SocketAddr>,
    /// Whether these are the default: then one whose protocol family the machine lacks is left out.
    pub dns_is_default: bool,
    /// DNS over TLS.
    pub tls: Vec<SocketAddr>,
    /// DNS over HTTPS.
    pub https: Vec<SocketAddr>,
    /// DNS over QUIC.
    pub quic: Vec<SocketAddr>,
    /// HTTP for operators; nothing turns it off.
    pub admin: Option<SocketAddr>,
    /// Whether that address is the default: then it may be taken by others.
    pub admin_is_default: bool,
    /// HTTP for the load balancer's probe alone.
    pub health: Option<SocketAddr>,
    /// Connections of clients by TCP, TLS and HTTPS together.
    pub connections: usize,
    /// Of these, of one IPv4 address or IPv6 /64.
    pub connections_per_address: usize,
    /// How long queries are answered after the order to end, while load balancers find out.
    pub drain: Duration,
}

/// The records files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordFiles {
    /// Globs, relative to the settings file, each with its place in it.
    pub files: Vec<(String, Range<usize>)>,
    /// Whether the globs are the default, which may match nothing.
    pub is_default: bool,
    /// TTL of records that state none, seconds.
    pub ttl: u32,
    /// Whether a reload may remove the last record.
    pub allow_empty: bool,
    /// How often settings and records are looked at for changes; 0: never.
    pub watch: Duration,
}

/// A `[[forward]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardSpec {
    /// The zone.
    pub zone: Name,
    /// Its upstreams, at least one.
    pub upstreams: Vec<Target>,
    /// The longest TTL of its answers, seconds, where it has its own.
    pub max_ttl: Option<u32>,
    /// The longest life of its negative answers, seconds, where it has its own.
    pub max_negative_ttl: Option<u32>,
}

/// `[cache]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheSettings {
    /// Bytes, overhead included.
    pub max_size: u64,
    /// The longest TTL.
    pub max_ttl: Duration,
    /// The longest life of a negative answer.
    pub max_negative_ttl: Duration,
    /// How long an expired answer may be served while its upstream is silent.
    pub serve_stale: Duration,
}

/// The networks that are answered by default: private, shared and loopback addresses, and the address from which
/// Azure's load balancer probes.
pub const DEFAULT_ALLOW: [&str; 9] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "fc00::/7",
    "::1/128",
    "fe80::/10",
    "168.63.129.16/32",
];

/// Negative answers below privatelink zones live this long at most: a new endpoint has to appear at once.
pub const MAX_NEGATIVE_TTL_PRIVATE: Duration = Duration::from_secs(10);

impl Default for Settings {
    fn default() -> Self {
        let allow = DEFAULT_ALLOW.iter().filter_map(|network| network.parse().ok()).collect();
        Self {
            listen: Listen::default(),
            tls: TlsSettings::default(),
            upstream_ca: None,
            records: RecordFiles::default(),
            zones: Vec::new(),
            forwards: vec![ForwardSpec {
                zone: Name::root(),
                upstreams: vec![Target { address: AZURE_DNS, protocol: Protocol::Datagram }],
                max_ttl: None,
                max_negative_ttl: None,
            }],
            upstream_limits: vec![(AZURE_DNS, Limits::AZURE)],
            cache: CacheSettings::default(),
            workers: 0,
            max_memory: None,
            user: String::new(),
            handover: None,
            confine: true,
            admin: AdminSettings::default(),
            log: LogSettings::default(),
            dnstap: DnstapSettings::default(),
            allow,
            azure: AzureSettings::default(),
            places: Places::default(),
        }
    }
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            dns: vec![
                SocketAddr::from((std::net::Ipv4Addr::UNSPECIFIED, 53)),
                SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, 53)),
            ],
            dns_is_default: true,
            tls: Vec::new(),
            https: Vec::new(),
            quic: Vec::new(),
            admin: Some(SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, 8053))),
            admin_is_default: true,
            health: None,
            connections: 4096,
            connections_per_address: 64,
            drain: Duration::from_secs(15),
        }
    }
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { level: LogLevel::Info, format: LogFormat::Auto, queries: 0 }
    }
}

impl Default for RecordFiles {
    fn default() -> Self {
        Self {
            files: vec![("records/*.toml".to_owned(), 0..0)],
            is_default: true,
            ttl: 10,
            allow_empty: false,
            watch: Duration::from_secs(5),
        }
    }
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            max_size: 64 << 20,
            max_ttl: Duration::from_secs(3600),
            max_negative_ttl: Duration::from_secs(60),
            serve_stale: Duration::from_secs(86400),
        }
    }
}

/// Expired answers for privatelink zones are served this long at most while their upstream answers others.
pub const MAX_STALE_PRIVATE: Duration = Duration::from_secs(60);
