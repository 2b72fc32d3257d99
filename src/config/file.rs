//! The text of pldns.toml into [`Settings`].

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::time::Duration;

use super::settings::{ForwardSpec, LogFormat, LogLevel, Settings};
use super::upstream::read_upstream;
use crate::document::{Document, Placed, Problems, SourceText, TableReader, parse_duration, parse_size};
use crate::forward::{AZURE_DNS, Limits, Ports, Target};
use crate::records::file::{read_prefix, ttl_seconds};
use crate::records::{Missing, Zone};
use crate::wire::Name;

/// More threads than this are a mistake.
const WORKERS_MAX: u64 = 1024;

/// What the reader needs to know of the world to warn of traps.
pub struct Facts<'f> {
    /// Public zones of Azure services, below which other people's names live too.
    pub public_zones: &'f [&'f str],
    /// Whether an address is one of this machine's.
    pub is_local: &'f dyn Fn(IpAddr) -> bool,
}

/// Reads settings. Problems go to `problems`; where there are errors among them, the settings are not to be used.
pub fn read_settings(source: &SourceText, facts: &Facts<'_>, problems: &mut Problems) -> Settings {
    let document = Document::new(source);
    let root = document.parse();
    let reader = document.reader(&root, "the file");
    let mut settings = Settings::default();
    for (key, read) in SECTIONS {
        if let Some(table) = reader.table(key) {
            let path = format!("[{key}]");
            let section = document.reader(table, &path);
            read(&document, &section, &mut settings);
            section.finish();
        }
    }
    refuse_open_admin(&document, &reader, &settings);
    read_zones(&document, &reader, facts, &mut settings);
    read_forwards(&document, &reader, facts, &mut settings);
    read_upstreams(&document, &reader, &mut settings);
    reader.finish();
    drop(root);
    problems.extend(document.into_problems());
    settings
}

type ReadSection = fn(&Document<'_>, &TableReader<'_>, &mut Settings);

/// The tables that stand once.
const SECTIONS: [(&str, ReadSection); 8] = [
    ("listen", read_listen),
    ("tls", read_tls),
    ("records", read_records),
    ("cache", read_cache),
    ("process", read_process),
    ("admin", read_admin),
    ("log", read_log),
    ("access", read_access),
];

fn read_listen(document: &Document<'_>, section: &TableReader<'_>, settings: &mut Settings) {
    if let Some(texts) = section.texts("dns") {
        settings.listen.dns = texts.iter().filter_map(|text| read_address(document, "dns", text)).collect();
    }
    for key in ["tls", "https", "quic"] {
        for text in section.texts(key).unwrap_or_default() {
            let message = format!("this version has no listener for `{key}`");
            document.error(text.span, message, format!("leave {key} = [] until it has"));
        }
    }
    settings.listen.admin = read_optional_address(document, section, "admin", settings.listen.admin);
    settings.listen.admin_is_default = section.key_span("admin").is_none();
    settings.listen.health = read_optional_address(document, section, "health", settings.listen.health);
    if let Some(drain) = section.parsed("drain", "a duration", parse_duration) {
        settings.listen.drain = drain.value;
    }
}

fn read_optional_address(
    document: &Document<'_>,
    section: &TableReader<'_>,
    key: &'static str,
    default: Option<SocketAddr>,
) -> Option<SocketAddr> {
    match section.text(key) {
        Some(text) if text.value.is_empty() => None,
        Some(text) => read_address(document, key, &text),
        None => default,
    }
}

fn read_address(document: &Document<'_>, key: &str, text: &Placed<&str>) -> Option<SocketAddr> {
    let address = text.value.parse().ok();
    if address.is_none() {
        let message = format!("\"{}\" in `{key}` is no address with a port", text.value.escape_debug());
        document.error(text.span.clone(), message, "\"10.0.0.4:53\" or \"[fd00::4]:53\"");
    }
    address
}

fn read_tls(_: &Document<'_>, section: &TableReader<'_>, settings: &mut Settings) {
    section.text("certificate");
    section.text("private_key");
    settings.upstream_ca = section
        .text("upstream_ca")
        .filter(|text| !text.value.is_empty())
        .map(|text| (text.value.to_owned(), text.span));
}

fn read_records(document: &Document<'_>, section: &TableReader<'_>, settings: &mut Settings) {
    if let Some(texts) = section.texts("files") {
        settings.records.files = texts.into_iter().map(|text| (text.value.to_owned(), text.span)).collect();
        settings.records.is_default = false;
    }
    if let Some(watch) = section.parsed("watch", "a duration", parse_duration) {
        settings.records.watch = watch.value;
    }
    if let Some(seconds) = read_seconds(document, section, "ttl") {
        settings.records.ttl = seconds;
    }
}

fn read_cache(document: &Document<'_>, section: &TableReader<'_>, settings: &mut Settings) {
    if let Some(size) = section.parsed("max_size", "a size", parse_size) {
        settings.cache.max_size = size.value;
    }
    let cache = &mut settings.cache;
    for (key, place) in [
        ("max_ttl", &mut cache.max_ttl),
        ("max_negative_ttl", &mut cache.max_negative_ttl),
        ("serve_stale", &mut cache.serve_stale),
    ] {
        if let Some(seconds) = read_seconds(document, section, key) {
            *place = Duration::from_secs(seconds.into());
        }
    }
}

/// A duration of whole seconds.
fn read_seconds(document: &Document<'_>, section: &TableReader<'_>, key: &'static str) -> Option<u32> {
    let duration = section.parsed(key, "a duration", parse_duration)?;
    let seconds = ttl_seconds(duration.value);
    if seconds.is_none() {
        document.error(
            duration.span,
            format!("`{key}` is a whole number of seconds up to 2147483647"),
            format!("{key} = \"60s\""),
        );
    }
    seconds
}

fn read_process(_: &Document<'_>, section: &TableReader<'_>, settings: &mut Settings) {
    if let Some(workers) = section.number("workers", 0..=WORKERS_MAX) {
        settings.workers = workers.value as usize;
    }
    if let Some(user) = section.text("user") {
        settings.user = user.value.to_owned();
    }
    if let Some(path) = section.text("handover") {
        settings.handover = Some(path.value.to_owned()).filter(|path| !path.is_empty());
    }
    if let Some(confine) = section.flag("confine") {
        settings.confine = confine;
    }
}

/// Who reaches the listener for operators from elsewhere has to show who he is.
fn refuse_open_admin(document: &Document<'_>, reader: &TableReader<'_>, settings: &Settings) {
    let open = settings.listen.admin.filter(|address| !address.ip().is_loopback());
    if let (Some(address), None) = (open, &settings.admin.token_file) {
        let listen = reader.table("listen").map(|table| document.reader(table, "[listen]"));
        let span = listen.and_then(|listen| listen.key_span("admin")).unwrap_or(0..0);
        document.error(
            span,
            format!("{address} can be reached from elsewhere, and nothing guards it"),
            "[admin] token_file = \"admin.token\", or an address of loopback",
        );
    }
}

fn read_admin(document: &Document<'_>, section: &TableReader<'_>, settings: &mut Settings) {
    if let Some(file) = section.text("token_file") {
        if file.value.is_empty() {
            document.error(file.span, "`token_file` names no file", "token_file = \"admin.token\"");
        } else {
            settings.admin.token_file = Some(file.value.to_owned());
        }
    }
}

fn read_log(document: &Document<'_>, section: &TableReader<'_>, settings: &mut Settings) {
    if let Some(text) = section.text("level") {
        match LogLevel::parse(text.value) {
            Some(level) => settings.log.level = level,
            None => {
                document.error(text.span, "`level` is none of error, warn, info, debug and trace", "level = \"info\"")
            }
        }
    }
    if let Some(text) = section.text("format") {
        match text.value {
            "auto" => settings.log.format = LogFormat::Auto,
            "text" => settings.log.format = LogFormat::Text,
            "json" => settings.log.format = LogFormat::Json,
            _ => document.error(text.span, "`format` is none of auto, text and json", "format = \"auto\""),
        }
    }
    if let Some(text) = section.text("queries") {
        let share = text.value.strip_prefix("1/").and_then(|share| share.parse().ok());
        match share.filter(|&share: &u32| share > 0) {
            Some(share) => settings.log.queries = share,
            None if text.value.is_empty() => settings.log.queries = 0,
            None => document.error(
                text.span,
                "`queries` is no share of all queries",
                "\"1/1000\" for one in a thousand, \"\" for none",
            ),
        }
    }
}

fn read_access(document: &Document<'_>, section: &TableReader<'_>, settings: &mut Settings) {
    if let Some(texts) = section.texts("allow") {
        settings.allow = texts.iter().filter_map(|text| read_prefix(document, "allow", text)).collect();
    }
}

fn read_name(document: &Document<'_>, key: &str, text: &Placed<&str>) -> Option<Name> {
    match Name::parse(text.value) {
        Ok(name) if name.is_wildcard() || name.label_end().is_some() => {
            document.error(
                text.span.clone(),
                format!("`{key}` is a zone: it takes no `*`"),
                "a zone holds all names below it",
            );
            None
        }
        Ok(name) => Some(name),
        Err(error) => {
            document.error(
                text.span.clone(),
                format!("`{key}` is no domain name: {error}"),
                "a zone such as \"privatelink.api.azureml.ms\"",
            );
            None
        }
    }
}

/// Notes a zone that stands twice; whether it is new.
fn is_new(document: &Document<'_>, seen: &mut HashSet<Name>, zone: &Name, span: Range<usize>) -> bool {
    let new = seen.insert(zone.clone());
    if !new {
        document.error(
            span,
            format!("the zone {zone} stands here a second time"),
            "put what belongs to it into one table",
        );
    }
    new
}

fn read_zones(document: &Document<'_>, reader: &TableReader<'_>, facts: &Facts<'_>, settings: &mut Settings) {
    let mut seen = HashSet::new();
    for table in reader.tables("zone") {
        let section = document.reader(table.value, "[[zone]]");
        section.missing(&table.span, "name", "name = \"privatelink.api.azureml.ms\"");
        let name = section.text("name");
        let missing = section.text("missing").and_then(|text| match text.value {
            "forward" => Some(Missing::Forward),
            "nxdomain" => Some(Missing::NxDomain),
            _ => {
                document.error(text.span, "`missing` is neither \"forward\" nor \"nxdomain\"", "missing = \"forward\"");
                None
            }
        });
        section.finish();
        let Some(text) = name else { continue };
        let Some(apex) = read_name(document, "name", &text) else {
            continue;
        };
        let missing = missing.unwrap_or_default();
        if missing == Missing::NxDomain {
            warn_of_public_zone(document, &apex, text.span.clone(), facts);
        }
        if is_new(document, &mut seen, &apex, text.span) {
            settings.zones.push(Zone { apex, missing });
        }
    }
}

fn warn_of_public_zone(document: &Document<'_>, apex: &Name, span: Range<usize>, facts: &Facts<'_>) {
    let mut zones = facts.public_zones.iter().filter_map(|zone| Name::parse(zone).ok());
    if let Some(zone) = zones.find(|zone| zone.is_within(apex)) {
        let message =
            format!("{apex} claims a whole public zone: every other name in {zone} stops to exist for your clients");
        document.warning(span, message, "missing = \"forward\", or name the privatelink zone instead");
    }
}

fn read_forwards(document: &Document<'_>, reader: &TableReader<'_>, facts: &Facts<'_>, settings: &mut Settings) {
    let mut seen = HashSet::new();
    for table in reader.tables("forward") {
        let section = document.reader(table.value, "[[forward]]");
        section.missing(&table.span, "zone", "zone = \".\"");
        section.missing(&table.span, "upstreams", "upstreams = [\"168.63.129.16\"]");
        let zone = section.text("zone");
        let upstreams = section.texts("upstreams");
        let max_ttl = read_seconds(document, &section, "max_ttl");
        let max_negative_ttl = read_seconds(document, &section, "max_negative_ttl");
        let upstreams_span = section.key_span("upstreams").unwrap_or_else(|| table.span.clone());
        section.finish();
        let (Some(zone_text), Some(upstreams)) = (zone, upstreams) else {
            continue;
        };
        let Some(zone) = read_name(document, "zone", &zone_text) else {
            continue;
        };
        if upstreams.is_empty() {
            document.error(
                upstreams_span,
                format!("the rule for {zone} has no upstreams"),
                "upstreams = [\"168.63.129.16\"]",
            );
        }
        warn_of_private_rule(document, &zone, zone_text.span.clone());
        let mut targets = Vec::new();
        for text in &upstreams {
            let Some(target) = read_upstream(document, text) else {
                continue;
            };
            warn_of_self(document, &target, text.span.clone(), facts, settings);
            targets.push(target);
        }
        if is_new(document, &mut seen, &zone, zone_text.span) && !targets.is_empty() {
            settings.forwards.retain(|known| known.zone != zone);
            settings.forwards.push(ForwardSpec { zone, upstreams: targets, max_ttl, max_negative_ttl });
        }
    }
}

fn warn_of_self(document: &Document<'_>, target: &Target, span: Range<usize>, facts: &Facts<'_>, settings: &Settings) {
    let upstream = target.address;
    let is_self = settings.listen.dns.iter().any(|listen| {
        let same_address = listen.ip() == upstream.ip()
            || (listen.ip().is_unspecified()
                && listen.is_ipv4() == upstream.is_ipv4()
                && (facts.is_local)(upstream.ip()));
        listen.port() == upstream.port() && same_address
    });
    if is_self {
        let message = format!("the upstream {target} is this server itself: what it forwards comes back to it");
        document.warning(span, message, "name the resolver behind it, such as \"168.63.129.16\"");
    }
}

fn warn_of_private_rule(document: &Document<'_>, zone: &Name, span: Range<usize>) {
    if zone.labels().any(|label| label.eq_ignore_ascii_case(b"privatelink")) {
        let message = format!(
            "a rule for {zone} is hardly ever asked: clients ask for the public name, and its upstream follows the alias by itself"
        );
        document.warning(span, message, "name the public zone, the one without \"privatelink\"");
    }
}

fn read_ports(document: &Document<'_>, ports: Placed<&str>, target: Option<&Target>) -> Ports {
    match ports.value {
        "fresh" => Ports::Fresh,
        "pool" => {
            if target.is_some_and(Target::is_azure_dns) {
                let message =
                    "Azure DNS is asked at most 1,000 times a second, for which fresh ports cost next to nothing";
                document.warning(ports.span, message, "leave `ports` out: fresh ports are harder to guess");
            }
            Ports::Pool
        }
        _ => {
            document.error(ports.span, "`ports` is neither \"fresh\" nor \"pool\"", "ports = \"fresh\"");
            Ports::Fresh
        }
    }
}

fn read_upstreams(document: &Document<'_>, reader: &TableReader<'_>, settings: &mut Settings) {
    for table in reader.tables("upstream") {
        let section = document.reader(table.value, "[[upstream]]");
        section.missing(&table.span, "address", "address = \"168.63.129.16\"");
        let target = section.text("address").and_then(|text| read_upstream(document, &text));
        let default = match &target {
            Some(target) if target.address == AZURE_DNS => Limits::AZURE,
            _ => Limits::default(),
        };
        let figure =
            |key, default: u32| section.number(key, 0..=1_000_000).map_or(default, |number| number.value as u32);
        let ports = section.text("ports").map_or(Ports::Fresh, |ports| read_ports(document, ports, target.as_ref()));
        let limits = Limits {
            ports,
            queries_per_second: figure("queries_per_second", default.queries_per_second),
            pending: figure("pending", default.pending),
        };
        section.finish();
        if let Some(target) = target {
            settings.upstream_limits.retain(|(address, _)| *address != target.address);
            settings.upstream_limits.push((target.address, limits));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Settings, String) {
        let source = SourceText::new("pldns.toml", text);
        let mut problems = Problems::default();
        let facts = Facts { public_zones: &["blob.core.windows.net"], is_local: &|address| address.is_loopback() };
        let settings = read_settings(&source, &facts, &mut problems);
        (settings, problems.to_string())
    }

    #[test]
    fn an_empty_file_forwards_to_azure_dns() {
        let (settings, problems) = read("");
        assert_eq!(problems, "");
        assert_eq!(settings, Settings::default());
        assert_eq!(settings.allow.len(), super::super::settings::DEFAULT_ALLOW.len());
    }

    #[test]
    fn every_problem_in_one_go() {
        let (_, problems) = read(
            r#"
            [listen]
            dns = ["10.0.0.4", "0.0.0.0:53"]
            tls = ["0.0.0.0:853"]
            [records]
            tll = "10s"
            ttl = "10"
            [[zone]]
            missing = "never"
            [[forward]]
            zone = "a..b"
            upstreams = ["10.0.0.300", "ftp://10.0.0.1"]
            [access]
            allow = ["10.0.0.1/8"]
            [sever]
            "#,
        );
        for expected in [
            ":3:20: error: \"10.0.0.4\" in `dns` is no address with a port",
            ":4:20: error: this version has no listener for `tls`",
            ":6:13: error: unknown key `tll` in [records]",
            "did you mean `ttl`?",
            ":7:19: error: `ttl` is not a duration",
            ":8:13: error: [[zone]] has no `name`",
            ":9:23: error: `missing` is neither",
            ":11:20: error: `zone` is no domain name",
            ":14:22: error: \"10.0.0.1/8\" in `allow` has bits set beyond its prefix",
            ":15:14: error: unknown key `sever` in the file",
        ] {
            assert!(problems.contains(expected), "{expected} in\n{problems}");
        }
    }

    #[test]
    fn traps_are_warned_of() {
        let (settings, problems) = read(
            r#"
            [listen]
            dns = ["0.0.0.0:53"]
            [[zone]]
            name = "core.windows.net"
            missing = "nxdomain"
            [[zone]]
            name = "privatelink.blob.core.windows.net"
            missing = "nxdomain"
            [[forward]]
            zone = "privatelink.api.azureml.ms"
            upstreams = ["127.0.0.1", "127.0.0.1:5353"]
            "#,
        );
        assert_eq!(problems.matches("warning:").count(), 3, "{problems}");
        assert!(problems.contains(":5:20: warning: core.windows.net claims a whole public zone"), "{problems}");
        assert!(problems.contains(":11:20: warning: a rule for privatelink.api.azureml.ms"), "{problems}");
        assert!(problems.contains(":12:26: warning: the upstream 127.0.0.1:53 is this server itself"), "{problems}");
        assert_eq!(settings.forwards.len(), 2, "the rule for the root stays");
    }

    #[test]
    fn upstreams_in_all_spellings() {
        let (settings, problems) = read(
            r#"
            [[forward]]
            zone = "."
            upstreams = ["10.0.0.4", "10.0.0.4:5353", "fd00::4", "[fd00::4]", "[fd00::4]:5353", "tcp://10.0.0.4",
                "tls://10.0.0.4#dns.example", "https://10.0.0.4/dns-query#dns.example"]
            [[upstream]]
            address = "168.63.129.16"
            pending = 100
            "#,
        );
        assert_eq!(problems, "");
        let shown: Vec<_> = settings.forwards.last().unwrap().upstreams.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "10.0.0.4:53",
                "10.0.0.4:5353",
                "[fd00::4]:53",
                "[fd00::4]:53",
                "[fd00::4]:5353",
                "tcp://10.0.0.4:53",
                "tls://10.0.0.4:853#dns.example",
                "https://10.0.0.4:443/dns-query#dns.example"
            ]
        );
        assert_eq!(settings.upstream_limits, [(AZURE_DNS, Limits { pending: 100, ..Limits::AZURE })]);
    }
}
