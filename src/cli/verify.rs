//! `pldns verify`: asks a running server for everything that the records promise.

use std::io::{self, IsTerminal, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use super::compare::dns_address;
use super::http::{ServerUrl, reachable};
use super::isolation::{Isolation, isolation};
use super::{SettingsArg, report as print_problems};
use crate::client::local_address;
use crate::config::Settings;
use crate::forward::{Protocol, Target, UpstreamSets};
use crate::reload::{Loaded, azure_names, load};
use crate::upstream::{Authorities, Trust};
use crate::verify::{Discovered, Listener, Report, plan, run as ask_all};

/// Ask a running server for everything that the records promise, and report differences
///
/// Every record, every wildcard by an example, AAAA without data, PTR names, and public names that lead to a record of
/// their privatelink name: over UDP, TCP and the encrypted listeners that the settings turn on. Exits 1 on any difference.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    settings: SettingsArg,
    /// The server to ask; the first address of `listen.dns` where it is left out
    #[arg(long, value_name = "ADDR", value_parser = dns_address)]
    server: Option<SocketAddr>,
    /// The name in the certificate of the encrypted listeners; `tls.name` of the settings, else the server's address, where it is
    /// left out
    #[arg(long, value_name = "NAME")]
    tls_name: Option<String>,
    /// Ask this server too: what it answers otherwise is reported as drift, which is no difference
    #[arg(long, value_name = "ADDR", value_parser = dns_address)]
    against: Option<SocketAddr>,
    /// Report what discovery found not to fit together, too: the address of the server's admin listener
    #[arg(long, value_name = "URL", value_parser = ServerUrl::parse)]
    admin: Option<ServerUrl>,
    /// Report for each workspace which parts are reached by private endpoint
    #[arg(long)]
    isolation: bool,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs
    Json,
    /// For pipelines: a test case for each question
    Junit,
}

/// What is read of `/drift`.
#[derive(Debug, Deserialize)]
struct DriftPage {
    drift: Vec<Discovered>,
}

/// The JSON of a result.
#[derive(Debug, Serialize)]
struct Result {
    #[serde(flatten)]
    report: Report,
    #[serde(skip_serializing_if = "Option::is_none")]
    isolation: Option<Vec<Isolation>>,
}

/// Runs the command: 0 when all is as promised, 1 on a difference, or when settings or server cannot be read or reached.
pub(super) fn run(args: &VerifyArgs) -> ExitCode {
    let path = &args.settings.config;
    let loaded = load(path);
    if loaded.problems.has_errors() {
        print_problems(path, &loaded.problems);
        return ExitCode::FAILURE;
    }
    let Some(server) = args.server.or_else(|| loaded.settings.listen.dns.first().copied().map(reachable)) else {
        eprintln!("error: the settings have no address in `listen.dns`: name the server with --server");
        return ExitCode::FAILURE;
    };
    let client = match local_address(server) {
        Ok(client) => client,
        Err(error) => {
            eprintln!("error: {server} cannot be reached: {error}");
            return ExitCode::FAILURE;
        }
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        eprintln!("error: cannot start");
        return ExitCode::FAILURE;
    };
    let listeners = args.listeners(&loaded.settings, server.ip());
    let trust = Arc::new(Trust::new(&trusted(path, &loaded)));
    let snapshot = loaded.into_snapshot(&mut UpstreamSets::default(), 0);
    #[expect(clippy::disallowed_methods, reason = "a command, not the core")]
    let plan = plan(&snapshot, azure_names(), client, Instant::now());
    let local = tokio::task::LocalSet::new();
    let ask = ask_all(server, (listeners, &trust), args.against, plan.checks.clone(), progress);
    let asked = runtime.block_on(local.run_until(ask));
    finish_progress();
    let mut report = Report::new(&plan.checks, &asked, plan.unchecked);
    if let Some(admin) = &args.admin {
        match admin.fetch::<DriftPage>("/drift", &args.settings) {
            Ok(page) => report.discovered = Some(page.drift),
            Err(problem) => {
                eprintln!("error: {problem}");
                return ExitCode::FAILURE;
            }
        }
    }
    let isolation = args.isolation.then(|| runtime.block_on(isolation(&snapshot.table, server, client)));
    let code = if report.differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    match print(args.format, Result { report, isolation }) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => code,
    }
}

impl VerifyArgs {
    /// The encrypted listeners of the settings, at the server's address: one port of each kind.
    fn listeners(&self, settings: &Settings, server: IpAddr) -> Vec<Listener> {
        let in_settings = settings.tls.name.as_ref().map(|(name, _)| name.to_string());
        let name = self.tls_name.clone().or(in_settings).unwrap_or_else(|| server.to_string());
        let server_name: Arc<str> = name.trim_end_matches('.').into();
        let at = |addresses: &[SocketAddr]| addresses.first().map(|address| SocketAddr::new(server, address.port()));
        let tls = at(&settings.listen.tls).map(|address| {
            let protocol = Protocol::Tls { server_name: server_name.clone() };
            Listener { transport: "tls", target: Target { address, protocol } }
        });
        let https = at(&settings.listen.https).map(|address| {
            let protocol = Protocol::Https { server_name: server_name.clone(), path: "/dns-query".into() };
            Listener { transport: "https", target: Target { address, protocol } }
        });
        tls.into_iter().chain(https).collect()
    }
}

/// The authorities of the settings, and what the server's own certificate file has, where it can be read here.
#[expect(clippy::disallowed_methods, reason = "a certificate is a file")]
fn trusted(path: &Path, loaded: &Loaded) -> Authorities {
    let file = path.parent().unwrap_or_else(|| Path::new(".")).join(&loaded.settings.tls.certificate.0);
    let own = std::fs::read(file).ok().and_then(|pem| Authorities::from_pem(&pem).ok());
    own.into_iter().fold(loaded.authorities.clone(), Authorities::and)
}

fn print(format: Format, result: Result) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match format {
        Format::Json => {
            serde_json::to_writer_pretty(&mut out, &result)?;
            writeln!(out)
        }
        Format::Junit => out.write_all(result.report.junit().as_bytes()),
        Format::Text => {
            write!(out, "{}", result.report)?;
            for workspace in result.isolation.iter().flatten() {
                write!(out, "\n{workspace}")?;
            }
            if result.isolation.is_some_and(|all| all.is_empty()) {
                writeln!(out, "\nno workspace has a name in the records")?;
            }
            Ok(())
        }
    }
}

/// Shows on a terminal how far it is.
fn progress(done: usize, total: usize) {
    let mut err = io::stderr().lock();
    if err.is_terminal() {
        let _ = write!(err, "\r{done} of {total} queries");
        let _ = err.flush();
    }
}

fn finish_progress() {
    let mut err = io::stderr().lock();
    if err.is_terminal() {
        let _ = write!(err, "\r\x1b[K");
    }
}
