//! The text of pldns.toml into [`Settings`].

use std::time::Duration;

use super::azure::read_azure;
use super::environment::Environment;
use super::listen::{read_admin, read_listen, refuse_open_admin};
use super::overlap::check_listeners;
use super::rules::{read_forwards, read_upstreams, read_zones};
use super::settings::{LogFormat, LogLevel, Settings, TlsSettings};
use super::values::read_seconds;
use crate::document::{Document, Placed, Problems, SourceText, TableReader, parse_duration, parse_size};
use crate::records::file::read_prefix;
use crate::wire::Name;

/// More threads than this are a mistake.
const WORKERS_MAX: u64 = 1024;

/// Bytes of `[dnstap] identity`.
const IDENTITY_MAX: usize = 255;

/// Reads settings. Problems go to `problems`; where there are errors among them, the settings are not to be used.
pub fn read_settings(source: &SourceText, environment: &Environment<'_>, problems: &mut Problems) -> Settings {
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
    check_listeners(&document, &reader, environment, &settings);
    read_zones(&document, &reader, environment, &mut settings);
    read_forwards(&document, &reader, environment, &mut settings);
    read_upstreams(&document, &reader, &mut settings);
    // Keys below a header that was not closed are none of the file's.
    if !document.has_unclosed_header() {
        reader.finish();
    }
    drop(root);
    problems.extend(document.into_problems());
    settings
}

type ReadSection = fn(&Document<'_>, &TableReader<'_>, &mut Settings);

/// Sections that appear once.
const SECTIONS: [(&str, ReadSection); 10] = [
    ("listen", read_listen),
    ("tls", read_tls),
    ("records", read_records),
    ("cache", read_cache),
    ("process", read_process),
    ("admin", read_admin),
    ("log", read_log),
    ("dnstap", read_dnstap),
    ("access", read_access),
    ("azure", |document, section, settings| settings.azure = read_azure(document, section)),
];

fn read_tls(document: &Document<'_>, section: &TableReader<'_>, settings: &mut Settings) {
    let TlsSettings { certificate, private_key, ticket_keys, name } = &mut settings.tls;
    for (key, place) in [("certificate", certificate), ("private_key", private_key)] {
        if let Some(file) = section.text(key) {
            *place = (file.value.to_owned(), file.span);
        }
    }
    *ticket_keys = section
        .text("ticket_keys")
        .filter(|text| !text.value.is_empty())
        .map(|text| (text.value.to_owned(), text.span));
    if let Some(text) = section.text("name").filter(|text| !text.value.is_empty()) {
        match Name::parse(text.value) {
            Ok(parsed) => *name = Some((parsed, text.span)),
            Err(error) => {
                let message = format!("\"{}\" in `name` is not a domain name: {error}", text.value.escape_debug());
                document.error(text.span, message, "name = \"dns.corp.example\", a name in the certificate");
            }
        }
    }
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
    if let Some(allow_empty) = section.flag("allow_empty") {
        settings.records.allow_empty = allow_empty;
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
        settings.places.cache_max_size = size.span;
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

fn read_process(_: &Document<'_>, section: &TableReader<'_>, settings: &mut Settings) {
    if let Some(workers) = section.number("workers", 0..=WORKERS_MAX, 0) {
        settings.workers = workers.value as usize;
    }
    let read_limit = |text: &str| if text.is_empty() { Some(None) } else { parse_size(text).map(Some) };
    if let Some(limit) = section.parsed("max_memory", "a size", read_limit) {
        settings.max_memory = limit.value;
        settings.places.max_memory = limit.span;
    }
    if let Some(user) = section.text("user") {
        settings.user = user.value.to_owned();
        settings.places.user = user.span;
    }
    if let Some(path) = section.text("handover") {
        settings.handover = Some(path.value.to_owned()).filter(|path| !path.is_empty());
    }
    if let Some(confine) = section.flag("confine") {
        settings.confine = confine;
    }
}

fn read_log(document: &Document<'_>, section: &TableReader<'_>, settings: &mut Settings) {
    if let Some(level) = section.word("level", &LogLevel::ALL.map(|(level, word)| (word, level))) {
        settings.log.level = level;
    }
    let formats = [("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)];
    if let Some(format) = section.word("format", &formats) {
        settings.log.format = format;
    }
    if let Some(text) = section.text("queries") {
        match fraction(text.value) {
            Some(share) => settings.log.queries = share,
            None if text.value.is_empty() => settings.log.queries = 0,
            None => document.error(
                text.span,
                "`queries` must be a fraction such as \"1/1000\"",
                "\"1/1000\" for one in a thousand, \"\" for none",
            ),
        }
    }
}

/// The N of `1/N`.
fn fraction(text: &str) -> Option<u32> {
    text.strip_prefix("1/").and_then(|share| share.parse().ok()).filter(|share| *share > 0)
}

fn read_dnstap(document: &Document<'_>, section: &TableReader<'_>, settings: &mut Settings) {
    let dnstap = &mut settings.dnstap;
    let path = |key| section.text(key).filter(|text| !text.value.is_empty());
    let (socket, file) = (path("socket"), path("file"));
    if let (Some(_), Some(file)) = (&socket, &file) {
        document.error(file.span.clone(), "`socket` and `file` exclude each other", "name one of them");
    }
    dnstap.socket = socket.map(|text| text.value.to_owned());
    dnstap.file = file.map(|text| text.value.to_owned());
    if let Some(text) = section.text("sample") {
        match fraction(text.value) {
            Some(share) => dnstap.sample = share,
            None => document.error(
                text.span,
                "`sample` must be a fraction such as \"1/100\"",
                "\"1/100\" for one in a hundred queries, \"1/1\" for all",
            ),
        }
    }
    if let Some(text) = section.text("identity") {
        if text.value.len() > IDENTITY_MAX {
            let message = format!("`identity` is {} bytes long (maximum {IDENTITY_MAX})", text.value.len());
            document.error(text.span, message, "a short name of this server");
        } else {
            dnstap.identity = text.value.to_owned();
        }
    }
}

fn read_access(document: &Document<'_>, section: &TableReader<'_>, settings: &mut Settings) {
    if let Some(texts) = section.texts("allow") {
        settings.allow = texts.iter().filter_map(|text| read_prefix(document, "allow", text)).collect();
        if texts.is_empty() {
            document.warning(
                section.key_span("allow").unwrap_or(0..0),
                "`allow` is empty: every query is refused",
                "leave it out for all private networks, or name those of your clients",
            );
        }
        let is_open = |text: &&Placed<&str>| matches!(text.value.rsplit_once('/'), Some((_, "0")));
        for text in texts.iter().filter(is_open) {
            document.warning(
                text.span.clone(),
                format!(
                    "{} lets every host in: an open resolver, if this server can be reached from the internet",
                    text.value
                ),
                "name the networks of your clients",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::{AZURE_DNS, Limits};
    use crate::records::ZONES_MAX;

    fn read(text: &str) -> (Settings, String) {
        let source = SourceText::new("pldns.toml", text);
        let mut problems = Problems::default();
        let environment = Environment {
            public_zones: &["blob.core.windows.net"],
            is_local: &|address| address.is_loopback() || address.is_unspecified(),
        };
        let settings = read_settings(&source, &environment, &mut problems);
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
            quic = ["0.0.0.0"]
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
            ":3:20: error: \"10.0.0.4\" in `dns` is not a socket address (ADDRESS:PORT)",
            ":4:21: error: \"0.0.0.0\" in `quic` is not a socket address (ADDRESS:PORT)",
            ":6:13: error: unknown key `tll` in [records]",
            "did you mean `ttl`?",
            ":7:19: error: `ttl` is not a duration",
            ":8:13: error: [[zone]] has no `name`",
            ":9:23: error: `missing` must be one of",
            ":11:20: error: `zone` is not a valid domain name",
            ":14:22: error: \"10.0.0.1/8\" in `allow` has bits set beyond its prefix",
            ":15:14: error: unknown key `sever` in the file",
        ] {
            assert!(problems.contains(expected), "{expected} in\n{problems}");
        }
    }

    #[test]
    fn a_build_without_quic_says_so() {
        let (settings, problems) = read("[listen]\nquic = [\"10.0.0.4:853\"]\n");
        if cfg!(feature = "quic") {
            assert_eq!(settings.listen.quic, ["10.0.0.4:853".parse().unwrap()]);
            assert!(!problems.contains("feature"), "{problems}");
        } else {
            assert!(
                problems.contains(":2:9: error: this build has no DNS over QUIC: it was built without the feature"),
                "{problems}"
            );
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
        assert!(
            problems
                .contains(":5:20: warning: core.windows.net would make this server authoritative for a public zone"),
            "{problems}"
        );
        assert!(problems.contains(":12:26: warning: the upstream 127.0.0.1:53 is this server itself"), "{problems}");
        assert_eq!(settings.forwards.len(), 2, "the rule for the root stays");
    }

    #[test]
    fn a_header_that_is_not_closed_is_one_problem() {
        let (_, problems) = read("[listen\ndns = [\"127.0.0.1:53\"]\n");
        assert!(problems.contains(":1:8: error: not TOML: unclosed table"), "{problems}");
        assert_eq!(problems.matches("error:").count(), 1, "{problems}");
    }

    #[test]
    fn a_table_that_comes_again_names_the_line_of_the_first() {
        let (_, problems) = read("[records]\n[listen] # first\nadmin = \"\"\n[cache]\n[listen]\nadmin = \"\"\n");
        assert!(problems.contains(":5:2: error: not TOML: duplicate key"), "{problems}");
        assert!(problems.contains("hint: the first is in line 2: put both into one"), "{problems}");
    }

    #[test]
    fn zones_of_other_scripts_have_their_a_label_as_the_hint() {
        let (_, problems) = read("[[forward]]\nzone = \"caf\u{e9}.corp.example\"\nupstreams = [\"10.0.0.4\"]\n");
        assert!(problems.contains("write it as \"xn--caf-dma.corp.example\""), "{problems}");
    }

    #[test]
    fn upstreams_in_all_spellings() {
        let (settings, problems) = read(
            r#"
            [[forward]]
            zone = "x.example"
            upstreams = ["10.0.0.4", "10.0.0.4:5353", "fd00::4", "[fd00::5]", "[fd00::4]:5353", "tcp://10.0.0.4",
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
                "[fd00::5]:53",
                "[fd00::4]:5353",
                "tcp://10.0.0.4:53",
                "tls://10.0.0.4:853#dns.example",
                "https://10.0.0.4:443/dns-query#dns.example"
            ]
        );
        assert_eq!(settings.upstream_limits, [(AZURE_DNS, Limits { pending: 100, ..Limits::AZURE })]);
    }

    #[test]
    fn one_zone_more_than_there_can_be_is_an_error_at_its_place() {
        let text: String =
            (0..=ZONES_MAX + 1).map(|number| format!("[[zone]]\nname = \"z{number}.example\"\n")).collect();
        let (settings, problems) = read(&text);
        assert_eq!(settings.zones.len(), ZONES_MAX);
        assert!(problems.starts_with("pldns.toml:131072:8: error: there are more than 65535 zones"), "{problems}");
        assert_eq!(problems.matches("error:").count(), 1, "{problems}");
    }
}
