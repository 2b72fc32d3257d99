//! An explanation for people, 80 columns wide.

use std::fmt;

use super::explanation::{CacheStep, Compared, Explanation, RuleStep, Step, TableStep, UpstreamStep};

/// Columns of a terminal of the usual width.
const WIDTH: usize = 80;
/// Columns of the words at the left.
const LEFT: usize = 12;

/// Wraps a text at spaces to lines of at most `width` characters, longer words alone on theirs.
pub fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = self.verdict.map_or("not known yet", super::Verdict::word);
        writeln!(f, "{} {}: {verdict}", self.name, self.rtype)?;
        for record in &self.answer {
            block(f, 2, record)?;
        }
        if let Some(reply) = self.reply.as_ref().filter(|reply| reply.answer.is_empty()) {
            writeln!(f, "  {}", reply.rcode)?;
        }
        writeln!(f)?;
        item(f, "reason", &self.reason)?;
        if let Some(fix) = &self.fix {
            item(f, "fix", fix)?;
        }
        if let Some(reload) = &self.reload {
            let first = reload.problem.lines().next().unwrap_or_default();
            item(f, "reload", &format!("The last reload was rejected, {} problems: {first}", reload.problem_count))?;
        }
        writeln!(f, "\nsteps for client {}:", self.client)?;
        for step in &self.steps {
            write_step(f, step)?;
        }
        for link in &self.chain {
            item(f, "chain", &format!("{} -> {}, by {}", link.name, link.target, link.by))?;
        }
        write_compared(f, &self.compare)
    }
}

/// A word at the left, its text beside it.
fn item(f: &mut fmt::Formatter<'_>, word: &str, text: &str) -> fmt::Result {
    let mut left = word;
    for line in wrapped(text, WIDTH - LEFT) {
        writeln!(f, "{left:<LEFT$}{line}")?;
        left = "";
    }
    Ok(())
}

/// A text that begins in this column; further lines are indented a little more.
fn block(f: &mut fmt::Formatter<'_>, column: usize, text: &str) -> fmt::Result {
    let mut indent = column;
    for line in wrapped(text, WIDTH - column - 2) {
        writeln!(f, "{:indent$}{line}", "")?;
        indent = column + 2;
    }
    Ok(())
}

fn write_step(f: &mut fmt::Formatter<'_>, step: &Step) -> fmt::Result {
    match step {
        Step::Client { seen: true, minutes } => {
            let age = if *minutes == 0 { "in the last minutes".to_owned() } else { format!("{minutes} min ago") };
            item(f, "client", &format!("its last query came {age}"))
        }
        Step::Client { seen: false, minutes } => {
            item(f, "client", &format!("no query of it since the server started {minutes} min ago"))
        }
        Step::Access { allowed: true } => item(f, "access", "allowed"),
        Step::Access { allowed: false } => item(f, "access", "not allowed"),
        Step::Table(table) => item(f, "table", &table_text(table)),
        Step::Rule(rule) => item(f, "rule", &rule_text(rule)),
        Step::Cache(cache) => item(f, "cache", &cache_text(cache)),
        Step::Upstream(upstream) => write_upstream(f, upstream),
        Step::Alias { target, responsible, zone, .. } => {
            let by = match (responsible.as_str(), zone) {
                ("table", _) => "the records table answers for it".to_owned(),
                ("same_upstreams", _) => "the same upstreams answer for it".to_owned(),
                (_, Some(zone)) => format!("the rule for {zone} answers for it"),
                (other, None) => other.to_owned(),
            };
            item(f, "cname", &format!("leads to {target}: {by}"))
        }
        Step::Open { target } => item(f, "chain", &format!("the answer ends there, {target} is looked up next")),
        Step::Cut { target } => {
            item(f, "chain", &format!("the answer is used up to there, {target} is looked up next"))
        }
        Step::Guard { name, action } => {
            item(f, "guard", &format!("public address, though {name} has a record here: {action}"))
        }
        Step::Privatelink { name } => item(f, "privatelink", &format!("{name} has no record here")),
    }
}

fn table_text(table: &TableStep) -> String {
    let name = &table.name;
    let place = match (&table.file, table.line) {
        (Some(file), Some(line)) => format!(", {file}:{line}"),
        _ => String::new(),
    };
    let owner = match (&table.owner, table.by.as_deref()) {
        (Some(owner), Some("wildcard")) => format!(" by the wildcard {owner}"),
        (Some(owner), Some("partial_wildcard")) => format!(" by the partial wildcard {owner}"),
        _ => String::new(),
    };
    let view = table.view.as_ref().map(|view| format!(", for clients in {view}")).unwrap_or_default();
    let mut text = match table.found.as_str() {
        "records" => format!("{name}: found{owner}{place}{view}"),
        "alias" => {
            format!("{name}: CNAME {}{owner}{place}{view}", table.target.as_deref().unwrap_or_default())
        }
        "any" => format!("{name}: found{owner}{place}"),
        "soa" => format!("{name}: the SOA of its zone"),
        "no_data" => format!("{name}: found{owner}, but no record of this type{place}"),
        "nx_domain" => format!("{name}: does not exist, says the zone {}", table.zone.as_deref().unwrap_or_default()),
        "other_views" => format!("{name}: nothing for this client"),
        _ => format!("{name}: not found"),
    };
    for hidden in &table.hidden {
        text += &format!("; {} {} is for clients in {}", hidden.owner, hidden.rtype, hidden.networks.join(", "));
        if let (Some(file), Some(line)) = (&hidden.file, hidden.line) {
            text += &format!(" ({file}:{line})");
        }
    }
    text
}

fn rule_text(rule: &RuleStep) -> String {
    let zone = rule.zone.as_deref().unwrap_or(".");
    match rule.rule.as_str() {
        "forward" => {
            let upstreams: Vec<_> = rule
                .upstreams
                .iter()
                .map(|upstream| {
                    let error = upstream.last_error.as_ref().map(|error| format!(", last error: {error}"));
                    let state = if upstream.state == "unknown" { "" } else { upstream.state.as_str() };
                    let waiting =
                        if upstream.waiting > 0 { format!(", {} waiting", upstream.waiting) } else { String::new() };
                    let notes = format!("{state}{waiting}{}", error.unwrap_or_default());
                    let notes = notes.trim_start_matches(", ");
                    if notes.is_empty() {
                        upstream.upstream.clone()
                    } else {
                        format!("{} ({notes})", upstream.upstream)
                    }
                })
                .collect();
            format!("{}: rule {zone} -> {}", rule.name, upstreams.join(", "))
        }
        _ => format!("{}: {zone} is answered by the server itself", rule.name),
    }
}

fn cache_text(cache: &CacheStep) -> String {
    let of = |seconds: Option<u64>| seconds.map_or_else(|| "?".to_owned(), |seconds| seconds.to_string());
    let rcode = cache.rcode.as_deref().unwrap_or_default();
    match cache.state.as_str() {
        "fresh" => format!("{}: {rcode}, {} s old, TTL {} s", cache.name, of(cache.age_seconds), of(cache.ttl_seconds)),
        "expired" => {
            let stale = cache.stale_seconds_left_while_down;
            let stale =
                stale.map(|left| format!("; may be served for {left} s more while its upstream does not answer"));
            format!("{}: {rcode}, expired, {} s old{}", cache.name, of(cache.age_seconds), stale.unwrap_or_default())
        }
        _ => format!("{}: not in the cache", cache.name),
    }
}

fn write_upstream(f: &mut fmt::Formatter<'_>, step: &UpstreamStep) -> fmt::Result {
    let tried = &step.tried;
    let end = match (&tried.error, &tried.rcode) {
        (Some(error), _) => error.clone(),
        (None, Some(rcode)) => rcode.clone(),
        (None, None) => "no answer".to_owned(),
    };
    let edns = if tried.rcode.is_some() && !tried.edns { ", without EDNS" } else { "" };
    let (upstream, over, took) = (&tried.upstream, &tried.over, tried.milliseconds);
    item(f, "upstream", &format!("{}: {upstream} over {over}, {took:.1} ms: {end}{edns}", step.name))?;
    for record in step.answer.iter().chain(&step.authority) {
        block(f, LEFT + 2, record)?;
    }
    Ok(())
}

fn write_compared(f: &mut fmt::Formatter<'_>, compared: &[Compared]) -> fmt::Result {
    if compared.is_empty() {
        return Ok(());
    }
    writeln!(f, "\nother resolvers:")?;
    for one in compared {
        let word = if one.same { "same answer" } else { "another answer" };
        writeln!(f, "{}: {word}", one.server)?;
        for record in &one.answer {
            block(f, 2, record)?;
        }
    }
    Ok(())
}
