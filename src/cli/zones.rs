//! `pldns zones`: what is known of private endpoints' zones, the conditional forwarders that a server on premises needs,
//! and what an existing list of them lacks.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::InvalidValue;
use super::generate::{complain, write_output};
use crate::azure::{Cloud, HostName, ZONES_DATE, ZONES_DOCUMENT, zones};
use crate::document::{Diagnostic, Problems, Severity, SourceText};
use crate::generate::forwarders::{
    Comparison, Forwarders, ListedZone, Printed, Server, ServerFormat, all, compare, needed, print, read_list, rows_of,
};
use crate::generate::printable;
use crate::records::read_records;

/// Print the zones of private endpoints, and the forwarders that lead to this server.
///
/// Without options: the documentation's table of private DNS zones. With `--for`, the public zones that lead to the records
/// of a table; with `--format`, as settings of the server that is to forward them.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 success, and with --check the list is right; 1 the input or the check failed; 2 usage error.\n\n\
    Example: pldns zones --for records/ --server 10.0.0.4 --server 10.0.0.5 --format windows"
)]
pub(super) struct ZonesArgs {
    /// The zones of this cloud alone.
    #[arg(long, value_enum)]
    cloud: Option<Cloud>,
    /// The zones that lead to these records: a records file, or a directory of them, once for each.
    #[arg(long = "for", value_name = "RECORDS")]
    records: Vec<PathBuf>,
    /// Forward the names of the records alone, so that all other names of their zones go where they went.
    #[arg(long, requires = "records")]
    names: bool,
    /// Where pldns answers, once for each server: ADDRESS or ADDRESS:PORT.
    #[arg(long, value_name = "ADDR", value_parser = server)]
    server: Vec<Server>,
    /// Print settings for this server.
    #[arg(long, value_enum, requires = "server", conflicts_with_all = ["json", "check"])]
    format: Option<ServerFormat>,
    /// Compare an existing list of forwarded zones: BIND, Unbound, dnsmasq, PowerShell or az as JSON, Terraform, plain names.
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl ValueEnum for ServerFormat {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        let help = match self {
            Self::Windows => "DNS on Windows Server (PowerShell)",
            Self::Bind => "BIND (named.conf)",
            Self::Unbound => "Unbound (unbound.conf)",
            Self::Dnsmasq => "dnsmasq",
            Self::Coredns => "CoreDNS (Corefile)",
            Self::Infoblox => "Infoblox NIOS (CSV import)",
            Self::Ruleset => "a ruleset of Azure DNS Private Resolver (Azure CLI)",
            Self::Nrpt => "name resolution policy of Windows clients (PowerShell)",
        };
        Some(clap::builder::PossibleValue::new(self.word()).help(help))
    }
}

/// Runs the command.
pub(super) fn run(args: &ZonesArgs) -> ExitCode {
    if let Some(format) = args.format.filter(|format| !format.has_ports())
        && args.server.iter().any(|server| server.port != 53)
    {
        let text = format!("the format {} has no ports: the server must answer at port 53", format.word());
        complain(&Diagnostic::of_file(Severity::Error, "zones", text, ""));
        return ExitCode::from(2);
    }
    let forwarders = match args.forwarders() {
        Ok(forwarders) => forwarders,
        Err(problems) => {
            problems.iter().for_each(complain);
            return ExitCode::FAILURE;
        }
    };
    let (text, code) = if let Some(file) = &args.check {
        match check(file, &forwarders, args.json) {
            Ok(checked) => checked,
            Err(problem) => {
                complain(&problem);
                return ExitCode::FAILURE;
            }
        }
    } else {
        (args.text(&forwarders), ExitCode::SUCCESS)
    };
    match write_output(None, &text) {
        Ok(()) => code,
        Err(problem) => {
            complain(&problem);
            ExitCode::FAILURE
        }
    }
}

impl ZonesArgs {
    /// The zones that are asked for: those of the records, else all of the cloud.
    fn forwarders(&self) -> Result<Forwarders, Problems> {
        if self.records.is_empty() {
            return Ok(Forwarders { zones: all(self.cloud), own: BTreeSet::new() });
        }
        let mut problems = Problems::default();
        let mut names = BTreeSet::new();
        for path in &self.records {
            read_names(path, &mut names, &mut problems);
        }
        if problems.has_errors() {
            return Err(problems);
        }
        let names: Vec<HostName> = names.into_iter().collect();
        let forwarders = needed(&names, self.names);
        if forwarders.zones.is_empty() && forwarders.own.is_empty() {
            let place =
                self.records.iter().map(|path| printable(&path.to_string_lossy())).collect::<Vec<_>>().join(", ");
            problems.push(Diagnostic::of_file(Severity::Error, place, "no record is in it", ""));
            return Err(problems);
        }
        for own in &forwarders.own {
            let text = format!("{own} is not a name of an Azure service: it is forwarded by itself");
            complain(&Diagnostic::of_file(
                Severity::Warning,
                "zones",
                text,
                "forward its zone instead where that is yours",
            ));
        }
        Ok(forwarders)
    }

    fn text(&self, forwarders: &Forwarders) -> String {
        if let Some(format) = self.format {
            let zones: Vec<String> = forwarders.zones.iter().chain(&forwarders.own).cloned().collect();
            let Printed(text) = print(&zones, self.names, &self.server, format);
            return text;
        }
        if self.json {
            return format!("{:#}\n", self.rows(forwarders));
        }
        if !self.records.is_empty() {
            return forwarders.zones.iter().chain(&forwarders.own).fold(String::new(), |text, zone| text + zone + "\n");
        }
        let mut text = format!("# {ZONES_DOCUMENT}, {ZONES_DATE}\n");
        for row in zones().filter(|row| self.cloud.is_none_or(|cloud| row.cloud == cloud)) {
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{:<7} {:<55} {:<28} {:<62} {}",
                row.cloud.word(),
                row.resource_type,
                row.group,
                row.zone,
                row.public.join(" ")
            );
        }
        text
    }

    /// The rows as JSON: the documentation's, or those that the records need with the zones that they need.
    fn rows(&self, forwarders: &Forwarders) -> Value {
        let row = |row: &crate::azure::PrivateDnsZone, public: Value| {
            json!({
                "cloud": row.cloud.word(),
                "resource_type": row.resource_type,
                "subresource": row.group,
                "private_zone": row.zone,
                "public_zones": public,
            })
        };
        if self.records.is_empty() {
            let rows = zones().filter(|row| self.cloud.is_none_or(|cloud| row.cloud == cloud));
            return rows.map(|it| row(it, json!(it.public))).collect();
        }
        rows_of(forwarders, self.cloud).into_iter().map(|(it, public)| row(it, json!(public))).collect()
    }
}

/// The owner names of a records file, or of those in a directory.
fn read_names(path: &Path, names: &mut BTreeSet<HostName>, problems: &mut Problems) {
    let place = || printable(&path.to_string_lossy());
    let failed = |error: &io::Error| Diagnostic::of_file(Severity::Error, place(), format!("cannot read: {error}"), "");
    if path.is_dir() {
        match std::fs::read_dir(path) {
            Ok(entries) => {
                let files = entries.flatten().map(|entry| entry.path());
                let mut files: Vec<PathBuf> =
                    files.filter(|file| file.extension().is_some_and(|it| it == "toml")).collect();
                files.sort();
                files.iter().for_each(|file| read_names(file, names, problems));
            }
            Err(error) => problems.push(failed(&error)),
        }
        return;
    }
    #[expect(clippy::disallowed_methods, reason = "this is the command that reads them")]
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => return problems.push(failed(&error)),
    };
    let source = SourceText::new(place(), text);
    let mut found = Problems::default();
    read_records(&source, 0, &mut found);
    let is_broken = found.has_errors();
    problems.extend(found);
    if is_broken {
        return;
    }
    // The records were read without an error: each has a name.
    let table: toml::Table = source.text().parse().unwrap_or_default();
    let records = table.get("record").and_then(toml::Value::as_array).into_iter().flatten();
    let owners = records.filter_map(|record| record.get("name")?.as_str());
    names.extend(owners.filter_map(|name| HostName::from_labels(name.trim_end_matches('.').split('.'))));
}

/// Compares a list with what is needed: the report, and whether the list is right.
fn check(file: &Path, forwarders: &Forwarders, as_json: bool) -> Result<(String, ExitCode), Diagnostic> {
    let place = printable(&file.to_string_lossy());
    let problem = |text: String, hint: &str| Diagnostic::of_file(Severity::Error, place.clone(), text, hint);
    #[expect(clippy::disallowed_methods, reason = "this is the command that reads it")]
    let bytes = std::fs::read(file).map_err(|error| problem(format!("cannot read: {error}"), ""))?;
    let text = crate::generate::decode(&bytes).ok_or_else(|| problem("neither UTF-8 nor UTF-16".to_owned(), ""))?;
    let listed = read_list(&text).ok_or_else(|| {
        problem(
            "no forwarded zone was found in it".to_owned(),
            "understood are settings of BIND, Unbound and dnsmasq, `Get-DnsServerZone | ConvertTo-Json`, rulesets of az or Terraform, and a zone on each line",
        )
    })?;
    let needed: BTreeSet<String> = forwarders.zones.iter().chain(&forwarders.own).cloned().collect();
    let comparison = compare(&listed, &needed);
    let code = if comparison.is_right() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    let text = if as_json { format!("{:#}\n", report_json(&comparison)) } else { report(&place, &listed, &comparison) };
    Ok((text, code))
}

fn report_json(comparison: &Comparison) -> Value {
    let zones = |list: &[ListedZone]| -> Value { list.iter().map(|it| it.zone.clone()).collect() };
    let privatelink: Vec<Value> =
        comparison.privatelink.iter().map(|(it, public)| json!({"zone": it.zone, "public_zones": public})).collect();
    json!({
        "missing": comparison.missing,
        "obsolete": zones(&comparison.obsolete),
        "privatelink": privatelink,
        "unneeded": zones(&comparison.unneeded),
    })
}

fn report(place: &str, listed: &[ListedZone], comparison: &Comparison) -> String {
    let at = |it: &ListedZone| if it.line == 0 { place.to_owned() } else { format!("{place}:{}", it.line) };
    let mut lines: Vec<String> = Vec::new();
    for (it, public) in &comparison.privatelink {
        lines.push(format!("{}: privatelink: {} must be the public zone: {}", at(it), it.zone, public.join(", ")));
    }
    for it in &comparison.obsolete {
        lines.push(format!("{}: obsolete: {} is a zone of no service with private endpoints", at(it), it.zone));
    }
    lines.extend(comparison.missing.iter().map(|zone| format!("{place}: missing: {zone}")));
    lines.extend(comparison.unneeded.iter().map(|it| format!("{}: not needed: {}", at(it), it.zone)));
    let (missing, obsolete, privatelink) =
        (comparison.missing.len(), comparison.obsolete.len(), comparison.privatelink.len());
    lines.push(format!(
        "{place}: {} zones listed, {missing} missing, {obsolete} obsolete, {privatelink} privatelink",
        listed.len()
    ));
    lines.join("\n") + "\n"
}

/// An address, with a port or without.
fn server(text: &str) -> Result<Server, InvalidValue> {
    let whole = text.parse::<SocketAddr>().ok().map(|it| Server { address: it.ip(), port: it.port() });
    let bare = || text.parse::<IpAddr>().ok().map(|address| Server { address, port: 53 });
    whole
        .or_else(bare)
        .filter(|it| it.port != 0)
        .ok_or_else(|| InvalidValue("not an address such as 10.0.0.4 or 10.0.0.4:5353".to_owned()))
}
