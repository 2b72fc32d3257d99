//! `pldns explain`: how a name is answered, and why: from settings alone, or by a running server.

use std::io::{self, IsTerminal, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use tokio::task::LocalSet;

use super::compare::{Resolver, compare};
use super::http::{HttpError, ServerUrl};
use super::{SettingsArg, report};
use crate::cache::Cache;
use crate::client::ask_rule;
use crate::engine::Engine;
use crate::explain::{Explanation, Question, Surroundings, Verdict, Walk};
use crate::forward::{LoopGuard, UpstreamSets};
use crate::reload::{azure_names, load};
use crate::upstream::Trust;
use crate::wire::{Name, NameError, Rtype};

/// Explain how a name is answered, step by step, with a verdict, the reason and the fix
///
/// Without `--server`, settings and records are read as `serve` would read them, and upstreams are asked from this machine
/// where the records do not answer. Exits 0 whenever it could explain, whatever the verdict.
#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// The name to explain
    #[arg(value_name = "NAME", value_parser = name)]
    name: Name,
    /// The record type: A, AAAA, CNAME, ..., or TYPE and a number
    #[arg(value_name = "TYPE", value_parser = rtype, default_value = "A")]
    rtype: Rtype,
    #[command(flatten)]
    settings: SettingsArg,
    /// Let a running server explain: the address of its admin listener
    #[arg(long, value_name = "URL", value_parser = server_url)]
    server: Option<ServerUrl>,
    /// Explain what this client is answered: views and the access list depend on it
    #[arg(long, value_name = "ADDR", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    client: IpAddr,
    /// Ask this resolver too and compare: an address, `system` or `azure`; may be given several times
    #[arg(long, value_name = "ADDR", value_parser = Resolver::parse)]
    compare: Vec<Resolver>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A text that is not the type of a record.
#[derive(Debug, thiserror::Error)]
#[error("must be a record type such as A or AAAA, or TYPE and a number")]
struct NotAType;

fn name(text: &str) -> Result<Name, NameError> {
    Name::parse(text)
}

fn rtype(text: &str) -> Result<Rtype, NotAType> {
    Rtype::parse(&text.to_ascii_uppercase()).ok_or(NotAType)
}

fn server_url(text: &str) -> Result<ServerUrl, HttpError> {
    ServerUrl::parse(text)
}

/// Runs the command: 0 when there is an explanation, 1 when settings or server could not be read.
pub(super) fn run(args: &ExplainArgs) -> ExitCode {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        eprintln!("error: cannot start");
        return ExitCode::FAILURE;
    };
    let explained = match &args.server {
        Some(server) => args.by_server(server),
        None => runtime.block_on(LocalSet::new().run_until(args.by_settings())),
    };
    let Some(mut explanation) = explained else {
        return ExitCode::FAILURE;
    };
    if !args.compare.is_empty() {
        runtime.block_on(compare(&mut explanation, &args.name, args.rtype, &args.compare));
    }
    match print(&explanation, args.json) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

impl ExplainArgs {
    /// Plays the query through settings and records, and asks upstreams from here.
    #[expect(clippy::disallowed_methods, reason = "a command, not the core")]
    async fn by_settings(&self) -> Option<Explanation> {
        let path = &self.settings.config;
        let loaded = load(path);
        if loaded.problems.has_errors() {
            report(path, &loaded.problems);
            return None;
        }
        let trust = Arc::new(Trust::new(&loaded.authorities));
        let snapshot = loaded.into_snapshot(&mut UpstreamSets::default(), 0);
        let engine = Engine::new(Arc::new(Cache::new(0)), LoopGuard::default());
        let question = Question { name: self.name.clone(), rtype: self.rtype, client: self.client.to_canonical() };
        let mut walk =
            Walk::begin((&engine, &snapshot), azure_names(), question, Surroundings::default(), Instant::now());
        while let Some((rule, query, _)) = walk.next() {
            let (tries, message) = ask_rule(&rule, &query, &trust).await;
            walk.take_response(tries, message.as_deref(), Instant::now());
        }
        Some(walk.finish())
    }

    /// Lets a running server explain.
    fn by_server(&self, server: &ServerUrl) -> Option<Explanation> {
        let path = format!(
            "/explain?name={}&type={}&client={}&ask=true",
            escaped(&self.name.to_string()),
            self.rtype,
            self.client.to_canonical()
        );
        server.fetch(&path, &self.settings).map_err(|problem| eprintln!("error: {problem}")).ok()
    }
}

/// A text in the query of a URL.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte.into());
        } else {
            out += &format!("%{byte:02X}");
        }
    }
    out
}

fn print(explanation: &Explanation, is_json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if is_json {
        serde_json::to_writer_pretty(&mut out, explanation)?;
        return writeln!(out);
    }
    let text = explanation.to_string();
    if !io::stdout().is_terminal() || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
        return out.write_all(text.as_bytes());
    }
    out.write_all(coloured(&text, explanation.verdict).as_bytes())
}

/// The verdict, which ends the first line, in the colour of what it means.
fn coloured(text: &str, verdict: Option<Verdict>) -> String {
    let colour = match verdict {
        Some(Verdict::Private) => "\x1b[1;32m",
        Some(Verdict::Public | Verdict::Failed | Verdict::Refused) => "\x1b[1;31m",
        _ => "\x1b[1;33m",
    };
    let Some((first, rest)) = text.split_once('\n') else { return text.to_owned() };
    let (name, verdict) = first.rsplit_once(": ").unwrap_or(("", first));
    format!("{name}: {colour}{verdict}\x1b[0m\n{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_verdict_is_coloured() {
        let text = coloured("a.example A: public\nreason: x\n", Some(Verdict::Public));
        assert_eq!(text, "a.example A: \x1b[1;31mpublic\x1b[0m\nreason: x\n");
    }

    #[test]
    fn names_are_escaped_for_a_url() {
        assert_eq!(escaped("a\\.b.example&type=A"), "a%5C.b.example%26type%3DA");
    }
}
