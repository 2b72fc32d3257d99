//! Files into the next state: settings, records, rules. The one place where the pieces meet.
//!
//! Everything is read and checked before anything is used; with an error anywhere, what serves goes on serving.

#![expect(clippy::disallowed_methods, reason = "settings and records are files")]
#![expect(clippy::disallowed_types, reason = "whether an address is this machine's is asked of a socket")]

mod changes;
mod discovered;
mod files;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::azure::{HostName, cloud_of, private_names, public_names, zones};
use crate::cache::TtlLimits;
use crate::config::{Environment, MAX_NEGATIVE_TTL_PRIVATE, MAX_STALE_PRIVATE, PublicAnswers, Settings, read_settings};
use crate::discover::Status;
use crate::document::{Diagnostic, Problems, Severity, SourceText};
use crate::engine::{AccessList, PublicAction, PublicGuard, Snapshot, StaleLimits};
use crate::explain::AzureNames;
use crate::forward::{ForwardRule, Rules, UpstreamSets};
use crate::rdata;
use crate::records::{Packed, Table, TableSettings, compile, read_records, ttl_seconds};
use crate::sys::give_back_memory;
use crate::upstream::Authorities;
use crate::wire::{Name, Rtype};

pub use changes::Changes;
use files::{access_hint, find_all};

/// From so many bytes of records files on, what the reading took is worth giving back.
const MUCH_TEXT: usize = 1 << 20;

/// What was read.
pub struct Loaded {
    /// The text of the settings; nothing where it cannot be read.
    pub source: Option<SourceText>,
    /// The settings; not to be used when there are errors among the problems.
    pub settings: Settings,
    /// Whose certificates upstreams may show, beside those of the public authorities.
    pub authorities: Authorities,
    /// The records, compiled.
    pub table: Table,
    /// How many files records came from.
    pub record_files: usize,
    /// Bytes of their texts.
    pub record_bytes: usize,
    /// All that is wrong or risky.
    pub problems: Problems,
}

/// What is known of Azure's names, for modules that do not know Azure.
pub fn azure_names() -> AzureNames {
    fn host(name: &Name) -> Option<HostName> {
        HostName::parse(&name.to_string()).ok()
    }
    fn names(hosts: &[HostName]) -> Vec<Name> {
        hosts.iter().map(HostName::to_name).collect()
    }
    AzureNames {
        private_names: |name| host(name).map(|host| names(&private_names(&host, None))).unwrap_or_default(),
        public_names: |name| host(name).map(|host| names(&public_names(&host))).unwrap_or_default(),
        is_service_name: |name| host(name).is_some_and(|host| cloud_of(&host).is_some()),
    }
}

/// The settings file alone, as far as it can be read: what is wrong in it has its default, and no file that it names is
/// looked at. For what must work beside a running server, even while the file is being edited.
pub fn settings_alone(path: &Path) -> Result<Settings, Diagnostic> {
    let environment = Environment { public_zones: &[], is_local: &|_| false };
    Ok(read_settings(&read_text(path)?, &environment, &mut Problems::default()))
}

/// The authorities of `[tls] upstream_ca`, for settings that were read alone.
pub fn authorities_alone(settings: &Settings, path: &Path) -> Result<Authorities, Diagnostic> {
    read_authorities(settings, path, &read_text(path)?)
}

/// Reads the settings file and every records file that it names.
pub fn load(path: &Path) -> Loaded {
    load_with(path, &Status::default())
}

/// The same, with what was discovered.
pub fn load_with(path: &Path, discover: &Status) -> Loaded {
    let mut problems = Problems::default();
    let mut authorities = Authorities::default();
    let mut files = Vec::new();
    let (settings, source) = match read_text(path) {
        Ok(source) => {
            let public_zones: Vec<&str> = zones().flat_map(|zone| zone.public).copied().collect();
            let environment = Environment { public_zones: &public_zones, is_local: &is_local };
            let settings = read_settings(&source, &environment, &mut problems);
            files = find_all(&settings, path, Some(&source), &mut problems);
            match read_authorities(&settings, path, &source) {
                Ok(read) => authorities = read,
                Err(problem) => problems.push(problem),
            }
            (settings, Some(source))
        }
        Err(problem) => {
            problems.push(problem);
            (Settings::default(), None)
        }
    };
    let (mut sources, mut packs) = read_record_files(files, &mut problems);
    let record_files = sources.len();
    let is_discovering = discover.is_on() && settings.azure.discover.is_on();
    let overridden =
        if is_discovering { discovered::add(discover, &mut sources, &mut packs, &mut problems) } else { Vec::new() };
    let table_settings = TableSettings { ttl: settings.records.ttl };
    let record_bytes = sources.iter().map(|source| source.text().len()).sum();
    let table = compile(&packs, &settings.zones, table_settings, sources, &mut problems);
    drop(packs);
    if is_discovering && !problems.has_errors() {
        discovered::note(discover, &table, &overridden);
    }
    if record_bytes > MUCH_TEXT {
        give_back_memory();
    }
    Loaded { source, settings, authorities, table, record_files, record_bytes, problems }
}

impl Loaded {
    /// The state that queries are answered from.
    pub fn into_snapshot(self, sets: &mut UpstreamSets, generation: u64) -> Snapshot {
        let settings = self.settings;
        let mut default = None;
        let mut rules = Vec::new();
        for spec in &settings.forwards {
            let upstream_set = sets.number(&spec.upstreams);
            let rule = Arc::new(ForwardRule {
                zone: spec.zone.clone(),
                upstreams: spec.upstreams.clone().into(),
                max_ttl: spec.max_ttl,
                max_negative_ttl: spec.max_negative_ttl,
                upstream_set,
            });
            if spec.zone == Name::root() {
                default = Some(rule);
            } else {
                rules.push(rule);
            }
        }
        let none = || {
            Arc::new(ForwardRule {
                zone: Name::root(),
                upstreams: Box::default(),
                max_ttl: None,
                max_negative_ttl: None,
                upstream_set: u32::MAX,
            })
        };
        let covered: Vec<Name> = settings
            .zones
            .iter()
            .map(|zone| zone.apex.clone())
            .chain(settings.forwards.iter().map(|rule| rule.zone.clone()))
            .collect();
        let azure = &settings.azure;
        let fallback = (!azure.public_fallback.is_empty()).then(|| {
            Arc::new(ForwardRule {
                zone: Name::root(),
                upstreams: azure.public_fallback.clone().into(),
                max_ttl: None,
                max_negative_ttl: None,
                upstream_set: sets.number(&azure.public_fallback),
            })
        });
        let action = match azure.public_answers {
            PublicAnswers::Allow => PublicAction::Allow,
            PublicAnswers::Warn => PublicAction::Warn,
            PublicAnswers::Refuse => PublicAction::Refuse,
        };
        let except = azure.public_except.clone();
        let guard = PublicGuard::new(action, except, fallback, &self.table, azure_names().public_names);
        let seconds = |duration| ttl_seconds(duration).unwrap_or(0);
        let designated = designated(&settings);
        let mut rules = Rules::new(rules, default.unwrap_or_else(none), &covered);
        if let Some((name, _)) = settings.tls.name.as_ref().filter(|_| !designated.is_empty()) {
            rules.designate(name);
        }
        Snapshot {
            generation,
            access: AccessList::new(&settings.allow),
            table: self.table,
            rules,
            designated,
            ttl_limits: TtlLimits {
                max: seconds(settings.cache.max_ttl),
                max_negative: seconds(settings.cache.max_negative_ttl),
                max_negative_private: seconds(settings.cache.max_negative_ttl.min(MAX_NEGATIVE_TTL_PRIVATE)),
            },
            guard,
            stale_limits: StaleLimits { max: settings.cache.serve_stale, max_private: MAX_STALE_PRIVATE },
        }
    }
}

/// The records by which clients find the encrypted listeners (RFC 9461): one for each port of each transport, DNS over TLS
/// first. None where `[tls] name` is not set.
fn designated(settings: &Settings) -> Box<[Box<[u8]>]> {
    let Some((name, _)) = &settings.tls.name else { return Box::default() };
    let listen = &settings.listen;
    let mut designated = Vec::new();
    let rows =
        [(&listen.tls, "alpn=dot"), (&listen.https, "alpn=h2 dohpath=/dns-query{?dns}"), (&listen.quic, "alpn=doq")];
    for (addresses, parameters) in rows {
        let ports: BTreeSet<u16> = addresses.iter().map(SocketAddr::port).collect();
        for port in ports {
            // Addresses that stand for all of the machine's tell nothing: then those of the name count.
            let of_port = addresses.iter().filter(|address| address.port() == port && !address.ip().is_unspecified());
            let (v4, v6): (Vec<_>, Vec<_>) = of_port.map(SocketAddr::ip).partition(IpAddr::is_ipv4);
            let hint = |key: &str, addresses: Vec<IpAddr>| {
                let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                if list.is_empty() { String::new() } else { format!(" {key}={}", list.join(",")) }
            };
            let (v4, v6) = (hint("ipv4hint", v4), hint("ipv6hint", v6));
            let text = format!("{} {name}. port={port} {parameters}{v4}{v6}", designated.len() + 1);
            if let Ok(data) = rdata::parse(Rtype::SVCB, &text) {
                designated.push(data.into_boxed_slice());
            }
        }
    }
    designated.into()
}

/// The authorities of `[tls] upstream_ca`.
fn read_authorities(settings: &Settings, path: &Path, source: &SourceText) -> Result<Authorities, Diagnostic> {
    let Some((file, span)) = &settings.upstream_ca else {
        return Ok(Authorities::default());
    };
    let place = path.parent().unwrap_or_else(|| Path::new(".")).join(file);
    let read = std::fs::read(&place).map_err(|error| format!("cannot be read: {error}"));
    read.and_then(|pem| Authorities::from_pem(&pem).map_err(|error| error.to_string())).map_err(|reason| {
        Diagnostic::at(
            Severity::Error,
            source,
            span.clone(),
            format!("\"{}\" {reason}", file.escape_debug()),
            "upstream_ca names a file of certificates in PEM, relative to the directory of this file",
        )
    })
}

/// The records files that the settings in the file at `path` name, as far as they can be found.
pub fn record_paths(settings: &Settings, path: &Path) -> Vec<PathBuf> {
    find_all(settings, path, None, &mut Problems::default())
}

fn read_record_files(files: Vec<PathBuf>, problems: &mut Problems) -> (Vec<SourceText>, Vec<Packed>) {
    let mut sources = Vec::with_capacity(files.len());
    let mut packs = Vec::new();
    for file in files {
        match read_text(&file) {
            Ok(source) if source.text().is_empty() => problems.push(Diagnostic::of_file(
                Severity::Error,
                source.name(),
                "the file is empty (zero bytes)",
                "a command that failed may have left it so: write it again or remove it; a comment in it says that it is meant",
            )),
            Ok(source) => {
                packs.append(&mut read_records(&source, sources.len() as u32, problems));
                sources.push(source);
            }
            Err(problem) => problems.push(problem),
        }
    }
    (sources, packs)
}

fn read_text(path: &Path) -> Result<SourceText, Diagnostic> {
    let name = path.display().to_string();
    let fail = |message: String, hint: &str| Diagnostic::of_file(Severity::Error, name.clone(), message, hint);
    let bytes =
        std::fs::read(path).map_err(|error| fail(format!("cannot be read: {error}"), &access_hint(path, &error)))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes().iter().take(at).filter(|&&byte| byte == b'\n').count() + 1;
        fail(format!("line {line} is not UTF-8"), "save the file as UTF-8")
    })?;
    Ok(SourceText::new(name, text))
}

/// Whether an address is one of this machine's: only then can a socket be bound to it.
fn is_local(address: IpAddr) -> bool {
    std::net::UdpSocket::bind((address, 0)).is_ok()
}
