//! A hostile corpus through every format: what is printed holds the records and nothing else.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::*;
use crate::azure::metadata::read_zone_file;
use crate::generate::records::{Data, Record, RecordGroup, Records};
use crate::wire::Name;

/// Texts that end strings, begin commands or comments, or mean something to some format.
const HOSTILE: &[&str] = &[
    "plain",
    "it's",
    "a\"b",
    "back\\slash",
    "$(reboot)",
    "`reboot`",
    "${var.x}",
    "%{ if true }",
    "{{ .Name }}",
    "; comment",
    "# comment",
    "-option",
    "@file",
    "comma, and; semicolon",
    "\u{2019}; Remove-Item \u{2018}",
    "two  spaces",
    "a\nb",
    "\u{1b}[2J",
    "caf\u{e9}",
    "",
];

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend(['\\', byte as char]),
            b' '..=b'~' => out.push(byte as char),
            _ => out.push_str(&format!("\\{byte:03}")),
        }
    }
    out.push('"');
    out
}

fn record(name: &str, record_type: &'static str, data: &[&str]) -> Record {
    let one = |text: &&str| text.parse().map_or_else(|_| Data::Presentation((*text).to_owned()), Data::Address);
    Record {
        name: Name::parse(name).unwrap(),
        record_type,
        data: data.iter().map(one).collect(),
        ttl: None,
        clients: Vec::new(),
        note: None,
    }
}

/// Records of every type and form, with hostile texts wherever a text may be.
fn corpus() -> Records {
    let texts: Vec<Record> = HOSTILE
        .iter()
        .enumerate()
        .map(|(at, text)| record(&format!("t{at}.own.example"), "TXT", &[&quoted(text)]))
        .collect();
    let titles = HOSTILE
        .iter()
        .map(|text| RecordGroup { title: format!("{text}\nlocal-data: 'x'\r\u{2028}[[record]]"), records: Vec::new() });
    let mut groups: Vec<RecordGroup> = titles.collect();
    groups[0].records = vec![
        record("acct.blob.core.windows.net", "A", &["10.0.0.4"]),
        record("acct.privatelink.blob.core.windows.net", "A", &["10.0.0.4", "10.0.0.5"]),
        record("acct.blob.core.windows.net", "AAAA", &["fd00::4"]),
        record("*.eastus.inference.ml.azure.com", "A", &["10.1.0.7"]),
        record("*-eastus-x.eastus.notebooks.azure.net", "A", &["10.1.0.6"]),
        record("ci-anna-*.eastus.instances.azureml.ms", "A", &["10.1.0.5"]),
        record("a_b.monitor.azure.com", "A", &["10.1.0.8"]),
    ];
    groups[1].records = vec![
        record("alias.own.example", "CNAME", &["x.own.example."]),
        record("x.own.example", "A", &["10.2.0.1"]),
        record("mail.own.example", "MX", &["10 mx.own.example."]),
        record("_sip._tcp.own.example", "SRV", &["1 2 443 x.own.example."]),
        record("p.own.example", "PTR", &["x.own.example."]),
        record("apex.example", "CNAME", &["x.own.example."]),
        record("a.rpz-drop", "A", &["10.2.0.2"]),
    ];
    groups[2].records = texts;
    let mut limited = record("views.blob.core.windows.net", "A", &["10.0.0.9"]);
    limited.clients = vec!["10.0.0.0/8".parse().unwrap()];
    groups[3].records = vec![limited];
    Records {
        header: HOSTILE.iter().map(|text| format!("{text}\nserver:")).collect(),
        groups,
        zones: vec!["own.example".into()],
    }
}

fn comment_of(format: Format) -> &'static str {
    if matches!(format, Format::Zone | Format::Bind) { ";" } else { "#" }
}

/// The lines that mean something.
fn lines(text: &str, format: Format) -> Vec<&str> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with(comment_of(format))).collect()
}

#[test]
fn every_line_of_every_format_is_one_that_its_printer_wrote() {
    let starts = |format: Format| -> &[&str] {
        match format {
            Format::Toml => &["[[record]]", "name = \"", "type = \"", "data = [", "ttl  = \"", "clients = ["],
            Format::Hosts => &["10.", "fd00::4 "],
            Format::Zone => {
                &["$ORIGIN ", "$TTL 10", "@ ", "* ", "acct ", "t", "x ", "p ", "mail ", "alias ", "_sip._tcp "]
            }
            Format::Unbound => &["server:", "    local-zone: \"", "    local-data: '"],
            Format::Bind => {
                &["$TTL 10", "@ ", "acct.", "*.", "a_b.", "t", "x.", "p.", "mail.", "alias.", "_sip.", "apex."]
            }
            Format::Dnsmasq => &[
                "host-record=",
                "local=/",
                "address=/",
                "cname=",
                "ptr-record=",
                "mx-host=",
                "srv-host=",
                "txt-record=",
            ],
            Format::Coredns => &["(pldns) {", "    ", "}"],
            Format::Powershell => &[
                "$ErrorActionPreference",
                "$scope",
                "function ",
                "    ",
                "}",
                "Add-PldnsZone -Name '",
                "Add-DnsServerResourceRecord",
            ],
            Format::AzureCli => &["set -eu", ": \"${RESOURCE_GROUP", "az network private-dns "],
            Format::Terraform => &["variable ", "resource \"azurerm_private_dns_", "  ", "}"],
        }
    };
    let records = corpus();
    let total: usize = records.groups.iter().map(|group| group.records.len()).sum();
    for format in Format::ALL {
        let printed = print(&records, format);
        assert!(printed.text.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{2028}'), "{format}");
        for line in lines(&printed.text, format) {
            assert!(starts(format).iter().any(|start| line.starts_with(start)), "{format}: {line:?}");
        }
        assert_eq!(printed.records + printed.left_out.len(), total, "{format}: {:?}", printed.left_out);
        for left_out in &printed.left_out {
            let line = format!("{}   {}: {}\n", comment_of(format), left_out.record, left_out.reason);
            assert!(printed.text.contains(&line), "{format}: {line:?} is not in\n{}", printed.text);
        }
        let has_views = printed.left_out.iter().any(|it| it.record == "views.blob.core.windows.net A");
        assert_eq!(has_views, format != Format::Toml, "{format}");
        let has_partial = printed.left_out.iter().any(|it| it.record.starts_with("ci-anna-*"));
        assert_eq!(has_partial, !matches!(format, Format::Toml | Format::Coredns), "{format}");
    }
}

#[test]
fn the_records_file_is_read_back_the_same() {
    let records = corpus();
    let text = print(&records, Format::Toml).text;
    let read: ::toml::Table = text.parse().unwrap();
    let read = read["record"].as_array().unwrap();
    let all: Vec<&Record> = records.groups.iter().flat_map(|group| &group.records).collect();
    assert_eq!(read.len(), all.len());
    for (read, record) in read.iter().zip(all) {
        assert_eq!(read["name"].as_str(), Some(record.name.to_string().as_str()));
        let data: Vec<_> =
            read["data"].as_array().unwrap().iter().map(|data| data.as_str().unwrap().to_owned()).collect();
        assert_eq!(data, record.data.iter().map(ToString::to_string).collect::<Vec<_>>());
    }
}

/// What a zone file's reader finds: owner, type, data.
fn read_back(text: &str) -> Vec<(String, String, Vec<String>)> {
    let file = read_zone_file(text);
    assert!(file.problems.is_empty(), "{:?}\n{text}", file.problems);
    let data = |set: &crate::azure::metadata::RecordSet| set.data.iter().map(|data| data.value.clone()).collect();
    file.sets
        .iter()
        .map(|set| (set.name.value.trim_end_matches('.').to_owned(), set.record_type.to_owned(), data(set)))
        .collect()
}

#[test]
fn zone_files_are_read_back_the_same() {
    let records = corpus();
    for (format, prefix) in [(Format::Zone, ""), (Format::Bind, "$ORIGIN .\n")] {
        let printed = print(&records, format);
        let mut expected: Vec<(String, String, Vec<String>)> = Vec::new();
        for record in records.groups.iter().flat_map(|group| &group.records) {
            let id = format!("{} {}", record.name, record.record_type);
            if !printed.left_out.iter().any(|it| it.record == id) {
                let data = record.data.iter().map(ToString::to_string).collect();
                expected.push((
                    record.name.to_string().trim_end_matches('.').to_owned(),
                    record.record_type.to_owned(),
                    data,
                ));
            }
        }
        expected.sort();
        let mut found = read_back(&format!("{prefix}{}", printed.text));
        found.sort();
        assert_eq!(found, expected, "{format:?}");
    }
}

#[test]
fn the_shell_sees_every_argument_as_it_was() {
    let text = print(&corpus(), Format::AzureCli).text;
    // Every call prints its arguments, each in brackets on a line of its own.
    let script = format!(
        "az() {{ for word in \"$@\"; do printf '[%s]\\n' \"$word\"; done; }}\nRESOURCE_GROUP='the group'\n{text}"
    );
    let mut child =
        Command::new("sh").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    for text in HOSTILE.iter().filter(|text| !text.chars().any(char::is_control) && !text.starts_with(['-', '@'])) {
        assert!(out.contains(&format!("[--value]\n[{text}]\n")), "{text:?}");
    }
    assert!(out.contains("[--resource-group]\n[the group]\n[--name]\n[acct.blob.core.windows.net]\n"));
}

/// The strings in single quotes of a line of PowerShell, resolved; `None` when one does not end.
fn powershell_strings(line: &str) -> Option<(String, Vec<String>)> {
    let is_quote = |c: char| matches!(c, '\'' | '\u{2018}' | '\u{2019}' | '\u{201A}' | '\u{201B}');
    let (mut outside, mut strings) = (String::new(), Vec::new());
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        if !is_quote(c) {
            outside.push(c);
            continue;
        }
        let mut string = String::new();
        loop {
            let c = chars.next()?;
            if !is_quote(c) {
                string.push(c);
            } else if let Some(second) = chars.next_if(|c| is_quote(*c)) {
                string.push(second);
            } else {
                break;
            }
        }
        strings.push(string);
    }
    Some((outside, strings))
}

#[test]
fn powershell_sees_every_argument_as_it_was() {
    let text = print(&corpus(), Format::Powershell).text;
    let mut found = Vec::new();
    for line in lines(&text, Format::Powershell).iter().filter(|line| line.starts_with("Add-DnsServer")) {
        let (outside, strings) = powershell_strings(line).unwrap();
        assert!(outside.chars().all(|c| c.is_ascii_alphanumeric() || "- ".contains(c)), "{line}");
        found.extend(strings);
    }
    for text in HOSTILE.iter().filter(|text| !text.chars().any(char::is_control)) {
        assert!(found.iter().any(|string| string == text), "{text:?}");
    }
}

#[test]
fn terraform_has_no_template_that_was_not_meant() {
    let text = print(&corpus(), Format::Terraform).text;
    for line in lines(&text, Format::Terraform).iter().filter(|line| line.trim_start().starts_with("value")) {
        let inner = line.split_once("= \"").unwrap().1.strip_suffix('"').unwrap();
        let bare = inner.replace("$${", "").replace("%%{", "").replace("\\\\", "").replace("\\\"", "");
        assert!(!bare.contains("${") && !bare.contains("%{") && !bare.contains(['"', '\\']), "{line}");
    }
    let labels: Vec<_> = text.lines().filter(|line| line.starts_with("resource ")).collect();
    let mut unique = labels.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), labels.len());
}

#[test]
fn unbound_and_coredns_end_no_string_early() {
    let text = print(&corpus(), Format::Unbound).text;
    for line in text.lines().filter(|line| line.trim_start().starts_with("local-data:")) {
        assert_eq!(line.matches('\'').count(), 2, "{line}");
    }
    let text = print(&corpus(), Format::Coredns).text;
    assert_eq!(
        text.lines().filter(|line| line.ends_with('{')).count(),
        text.lines().filter(|line| line.trim() == "}").count()
    );
    assert!(text.contains("match ^ci-anna-[^.]+[.]eastus[.]instances[.]azureml[.]ms[.]$"), "{text}");
    assert!(text.contains("match ^.+[.]eastus[.]inference[.]ml[.]azure[.]com[.]$"));
}

#[test]
fn names_of_azure_get_zones_of_their_own() {
    let text = print(&corpus(), Format::Zone).text;
    for zone in [
        "$ORIGIN acct.blob.core.windows.net.\n",
        "$ORIGIN privatelink.blob.core.windows.net.\n",
        "$ORIGIN eastus.inference.ml.azure.com.\n",
        "$ORIGIN own.example.\n",
    ] {
        assert!(text.contains(zone), "{zone}{text}");
    }
    assert!(!text.contains("$ORIGIN blob.core.windows.net.") && !text.contains("$ORIGIN core.windows.net."));
}
