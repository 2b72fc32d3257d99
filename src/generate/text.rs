//! Inputs that are neither JSON nor zone files: lines of address and name, CSV, and what people paste by mistake.
//!
//! Lines that can be read become rows. What cannot be read is named for what it is, with the line shown and the next step:
//! what a command printed instead of its result is the commonest input that fails.

use std::net::IpAddr;
use std::ops::Range;

use super::csv;
use crate::azure::HostName;
use crate::azure::metadata::{Located, Row};

/// What a run of lines between JSON documents is.
#[derive(Debug)]
pub(super) enum Text {
    /// Lines of address and names, in their order.
    Lines(Vec<Row>),
    /// CSV with a header: an object for each line, with its `line:column`.
    Csv(Vec<(String, csv::Line)>),
    /// Messages that can be passed over when something else can be read: their first line.
    Notice(Range<usize>),
    /// What nothing can be read from, or what says that a command failed.
    Wrong(Wrong),
}

/// What a text is instead of metadata.
#[derive(Debug)]
pub(super) struct Wrong {
    /// The place of the line that says so, bytes of the run.
    pub(super) line: Range<usize>,
    /// What it is.
    pub(super) what: &'static str,
    /// What to do.
    pub(super) hint: &'static str,
}

/// Reads a run of lines that begins at line `first` (from 1) of its input.
pub(super) fn read(text: &str, first: usize) -> Text {
    let lines = lines(text);
    if let Some(wrong) = failure(&lines) {
        return Text::Wrong(wrong);
    }
    let notices = lines.iter().take_while(|line| is_notice(line.text)).count();
    let Some(rest) = lines.get(notices..).filter(|rest| !rest.is_empty()) else {
        return Text::Notice(lines.first().map_or(0..0, |line| line.range.clone()));
    };
    if let Some(rows) = hosts(rest, first) {
        return Text::Lines(rows);
    }
    let (start, number) = rest.first().map_or((0, 0), |line| (line.range.start, line.number));
    match csv::read(text.get(start..).unwrap_or_default(), first + number) {
        Some(Ok(rows)) => return Text::Csv(rows),
        Some(Err((what, hint))) => {
            let line = rest.first().map_or(0..0, |line| line.range.clone());
            return Text::Wrong(Wrong { line, what, hint });
        }
        None => {}
    }
    if let Some(wrong) = other_format(rest) {
        return Text::Wrong(wrong);
    }
    let line = rest.first().map_or(0..0, |line| line.range.clone());
    Text::Wrong(Wrong { line, what: "this is not JSON, nor another form that can be read", hint: FORMS })
}

struct Line<'t> {
    text: &'t str,
    range: Range<usize>,
    /// From 0, within the run.
    number: usize,
}

/// The lines that hold something.
fn lines(text: &str) -> Vec<Line<'_>> {
    let mut at = 0;
    let mut lines = Vec::new();
    for (number, line) in text.split('\n').enumerate() {
        let trimmed = line.trim();
        if !trimmed.is_empty() {
            let start = at + line.len() - line.trim_start().len();
            lines.push(Line { text: trimmed, range: start..start + trimmed.len(), number });
        }
        at += line.len() + 1;
    }
    lines
}

/// The first line that says that a command failed or wants something.
fn failure(lines: &[Line<'_>]) -> Option<Wrong> {
    let found = |line: &Line<'_>| {
        let lower = line.text.to_ascii_lowercase();
        let (_, what, hint) = FAILURES.iter().find(|(marks, ..)| marks.iter().any(|mark| lower.contains(mark)))?;
        Some(Wrong { line: line.range.clone(), what, hint })
    };
    if let Some(wrong) = lines.iter().find_map(found) {
        return Some(wrong);
    }
    let is_error = |line: &&Line<'_>| {
        let lower = line.text.to_ascii_lowercase();
        lower.starts_with("error:") || lower.starts_with("error :") || lower.starts_with("az: error")
    };
    let line = lines.iter().find(is_error)?;
    Some(Wrong {
        line: line.range.clone(),
        what: "this is an error message of the command, not its result",
        hint: "run the command again by itself, and give its output once it succeeds",
    })
}

/// Formats that commands print beside JSON.
fn other_format(lines: &[Line<'_>]) -> Option<Wrong> {
    let wrong = |line: &Line<'_>, what, hint| Some(Wrong { line: line.range.clone(), what, hint });
    let first = lines.first()?;
    let is_rule = |line: &Line<'_>| {
        line.text.len() > 3 && line.text.chars().all(|c| "-=+| ".contains(c)) && line.text.contains("---")
    };
    if let Some(at) = lines.iter().position(is_rule) {
        return wrong(lines.get(at.saturating_sub(1))?, "this is a table for people, not JSON", PRINT_JSON);
    }
    if first.text.starts_with('|') && first.text.ends_with('|') {
        return wrong(first, "this is a table for people, not JSON", PRINT_JSON);
    }
    if first.text.starts_with('<') {
        return wrong(
            first,
            "this is a web page or XML, not JSON",
            "a proxy or sign-in page answered instead of Azure: run the command again",
        );
    }
    let is_list_format = |line: &Line<'_>| {
        let key = line.text.split_once(" :").map(|(key, _)| key.trim_end());
        key.is_some_and(|key| !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric()))
    };
    if is_list_format(first) {
        return wrong(
            first,
            "this is PowerShell's list format, not JSON",
            "let PowerShell print JSON: `| ConvertTo-Json -Depth 10`",
        );
    }
    let is_terraform = |line: &Line<'_>| {
        line.text.starts_with("resource \"")
            || line.text.starts_with("# azurerm_")
            || line.text.split_once(" = ").is_some_and(|(key, value)| {
                key.trim_end().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
                    && (value.starts_with(['"', '[', '{', '<']) || value.starts_with("to"))
            })
    };
    if is_terraform(first) {
        return wrong(
            first,
            "this is Terraform's own syntax, not JSON",
            "let Terraform print JSON: `terraform output -json`, or `terraform show -json`",
        );
    }
    let is_yaml = |line: &Line<'_>| {
        let text = line.text.strip_prefix("- ").unwrap_or(line.text);
        let key = text.split_once(':').map(|(key, _)| key);
        line.text == "---"
            || key.is_some_and(|key| {
                !key.is_empty()
                    && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
                    && (text.ends_with(':') || text.contains(": "))
            })
    };
    if is_yaml(first)
        && lines.iter().filter(|line| is_yaml(line) || line.text.starts_with('-')).count() * 2 > lines.len()
    {
        return wrong(first, "this is YAML, not JSON", PRINT_JSON);
    }
    if first.text.contains('\t') {
        return wrong(first, "these are tab-separated values (tsv) without names of columns, not JSON", PRINT_JSON);
    }
    if first.text.starts_with('/') && first.text.to_ascii_lowercase().starts_with("/subscriptions/") {
        return wrong(
            first,
            "this is the id of a resource, not the resource",
            "print the resource itself: `az network nic show --ids ID`",
        );
    }
    None
}

/// Whether a line is one that commands write beside their result.
fn is_notice(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let begins = ["warning", "debug", "info", "verbose", "note", "ps ", "$ ", "> ", "#"];
    // `[INFO]`, `[2026-03-01 10:00:00]`; not the list of a query that was printed as tsv.
    let is_bracketed = lower.strip_prefix('[').is_some_and(|rest| rest.starts_with(|c: char| c.is_alphanumeric()));
    let holds = [
        "is in preview",
        "is experimental",
        "experimental class",
        "under development",
        "will be deprecated",
        "has been deprecated",
        "deprecationwarning",
        "userwarning",
        "syntaxwarning",
        "futurewarning",
        "az upgrade",
        "aka.ms/",
        "altered by the following extension",
        "requires the extension",
        "extension",
        "updates available",
        "$ az ",
        "> az ",
        "% az ",
        "# az ",
    ];
    is_bracketed || begins.iter().any(|mark| lower.starts_with(mark)) || holds.iter().any(|mark| lower.contains(mark))
}

/// Lines of address and names, as hosts files have them, in either order; `None` when one line is something else.
fn hosts(lines: &[Line<'_>], first: usize) -> Option<Vec<Row>> {
    let mut rows = Vec::new();
    for line in lines {
        let text = line.text.split('#').next().unwrap_or_default();
        if text.trim().is_empty() {
            continue;
        }
        let words: Vec<&str> = text.split_whitespace().collect();
        let is_address = |word: &str| word.parse::<IpAddr>().is_ok();
        // The machine's own addresses with their interface, as in `fe80::1%lo0 localhost`.
        let of_link = words.first().and_then(|word| word.split_once('%')).is_some_and(|(word, _)| is_address(word));
        if of_link && words.iter().skip(1).all(|name| is_local(name)) {
            continue;
        }
        let (address, names) = match words.split_first() {
            Some((address, names)) if is_address(address) => (*address, names),
            // Name first is how queries print as tsv: with the tab it is named as such.
            Some((_, [address])) if is_address(address) && !text.contains('\t') => (*address, words.get(..1)?),
            _ => return None,
        };
        let names: Vec<&str> = names.iter().copied().filter(|name| !is_local(name)).collect();
        if names.iter().any(|name| HostName::parse(name).is_err() || is_address(name)) {
            return None;
        }
        if names.is_empty() {
            continue;
        }
        let place = format!("{}:1", first + line.number);
        let located = |text: &str| Located { value: text.to_owned(), path: place.clone() };
        rows.push(Row {
            names: names.iter().map(|name| located(name)).collect(),
            addresses: vec![located(address)],
            ttl: None,
            owner: None,
            path: place.clone(),
        });
    }
    (!rows.is_empty()).then_some(rows)
}

/// Names that every hosts file has for the machine itself.
fn is_local(name: &str) -> bool {
    !name.contains('.') || name.ends_with(".localdomain") || name.starts_with("localhost")
}

/// What commands print when they fail: marks in lower case, what it is, what to do.
const FAILURES: &[(&[&str], &str, &str)] = &[
    (
        &[
            "please run 'az login'",
            "please run \"az login\"",
            "az login --",
            "run az login",
            "to sign in, use a web browser",
            "microsoft.com/devicelogin",
            "aadsts",
            "run connect-azaccount",
            "no subscription found",
            "interactively log in",
            "select the account you want to log in with",
        ],
        "this is a request to sign in, not the result of the command",
        "sign in first (`az login`, or `Connect-AzAccount` in PowerShell), then run the command again",
    ),
    (
        &["resourcegroupnotfound", "resource group '"],
        "az reports that the resource group does not exist",
        "see the name and the subscription: `az account show`, `az group list --output table`",
    ),
    (
        &["(resourcenotfound)", "resourcenotfound", "was not found.", "could not be found"],
        "az reports that the resource does not exist",
        "see the name, the resource group and the subscription: `az account show`, `az network private-endpoint list --output table`",
    ),
    (
        &["authorizationfailed", "does not have authorization", "forbidden"],
        "az reports that this account lacks the right to read the resource",
        "the role Reader on the resource group is enough; see the subscription: `az account show`",
    ),
    (
        &["subscriptionnotfound", "subscription not found", "the subscription of"],
        "az reports that it does not know the subscription",
        "see which ones there are: `az account list --output table`, then `az account set --subscription ID`",
    ),
    (
        &[
            "command not found",
            "is not recognized as",
            "no such file or directory",
            "is misspelled or not recognized",
            "'az' is not",
        ],
        "this is a message of the shell or of az: the command was not understood",
        "see that az is installed and the command is spelled as printed",
    ),
    (
        &["the following arguments are required", "unrecognized arguments", "usage: az", "az: error:", "argument --"],
        "this is a usage message of az, not a result",
        "see the arguments of the command: `az network nic show --help`",
    ),
    (
        &["do you want to install it", "would you like to install"],
        "az asks whether to install an extension",
        "install it first: `az extension add --name ml`, then run the command again",
    ),
    (
        &["traceback (most recent call last)"],
        "this is a crash of the command, not a result",
        "run it again with `--debug` to see why",
    ),
    (
        &[
            "connection error",
            "max retries exceeded",
            "failed to establish a new connection",
            "certificate verify failed",
            "name or service not known",
        ],
        "the command could not reach Azure",
        "see the network and the proxy of the machine that ran it, then run it again",
    ),
];

const PRINT_JSON: &str =
    "let the command print JSON: `--output json` for az, `| ConvertTo-Json -Depth 10` for PowerShell";
const FORMS: &str = "give the JSON that az, ARM, Terraform or PowerShell print, lines of address and name, CSV with a header, or a zone file; \
    for az add `--output json`";

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> String {
        match read(text, 1) {
            Text::Wrong(wrong) => format!("{}: {}", &text[wrong.line], wrong.what),
            Text::Notice(_) => "notice".to_owned(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn what_people_paste_is_named_with_its_line() {
        for (text, expected) in [
            ("IPAddress    FQDNs\n---------  -----\n10.0.0.4  a.b\n", "IPAddress    FQDNs: this is a table"),
            ("- FQDNs:\n  - a.blob.core.windows.net\n  IPAddress: 10.40.2.9\n", "- FQDNs:: this is YAML"),
            ("a.blob.core.windows.net\t10.40.2.9\n", "a.blob.core.windows.net\t10.40.2.9: these are tab-separated"),
            (
                "ERROR: Please run 'az login' to setup account.",
                "ERROR: Please run 'az login' to setup account.: this is a request to sign in",
            ),
            (
                "x\nERROR: (ResourceGroupNotFound) Resource group 'rg' could not be found.\nCode: x",
                "ERROR: (ResourceGroupNotFound) Resource group 'rg' could not be found.: az reports that the resource group",
            ),
            ("ERROR: something odd", "ERROR: something odd: this is an error message"),
            ("bash: az: command not found", "bash: az: command not found: this is a message of the shell"),
            ("WARNING: The behavior of this command has been altered", "notice"),
            ("Name : pe\nFqdn : a.b\n", "Name : pe: this is PowerShell's list format"),
            ("pe_dns = [\n", "pe_dns = [: this is Terraform's own syntax"),
            ("<html>", "<html>: this is a web page"),
            ("/subscriptions/x", "/subscriptions/x: this is the id of a resource"),
            ("whatever this is", "whatever this is: this is not JSON"),
        ] {
            assert!(wrong(text).starts_with(expected), "{text:?}: {}", wrong(text));
        }
    }

    #[test]
    fn lines_of_hosts_files_are_rows() {
        let text = "127.0.0.1 localhost\n::1 ip6-localhost\n# Azure\n10.1.0.5\ta.blob.core.windows.net b.blob.core.windows.net # both\nc.blob.core.windows.net 10.1.0.6\n";
        let Text::Lines(rows) = read(text, 3) else { panic!("{}", wrong(text)) };
        let first = |row: &Row| (row.names.len(), row.addresses[0].value.clone(), row.path.clone());
        assert_eq!(
            rows.iter().map(first).collect::<Vec<_>>(),
            [(2, "10.1.0.5".to_owned(), "6:1".to_owned()), (1, "10.1.0.6".to_owned(), "7:1".to_owned())]
        );
    }

    #[test]
    fn csv_without_a_header_is_not_read() {
        assert!(wrong("a.blob.core.windows.net,10.0.0.4").contains("not JSON"));
    }
}
