//! What was found, as text, JSON and JUnit.

use std::fmt::{self, Write};

use serde::{Deserialize, Serialize};

use super::{Asked, Check, Expected, Observed, Unchecked};
use crate::explain::is_private;
use crate::wire::Rcode;

/// The result of `pldns verify`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Questions asked, each over all transports.
    pub checked: usize,
    /// The transports: `udp`, `tcp`, and those of the encrypted listeners that are on.
    pub transports: Vec<String>,
    /// Answers that are not what the records promise.
    pub differences: Vec<Difference>,
    /// Answers of the other server that are not what the records promise.
    pub drift: Vec<Difference>,
    /// What could not be checked from here.
    pub unchecked: Vec<Unchecked>,
    /// What the server's discovery found not to fit together; absent where it was not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discovered: Option<Vec<Discovered>>,
    /// The names and types that were checked, for JUnit.
    #[serde(skip)]
    pub cases: Vec<(String, String)>,
}

/// An answer that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The name.
    pub name: String,
    /// The type.
    #[serde(rename = "type")]
    pub rtype: String,
    /// What the records promise.
    pub expected: String,
    /// What came back.
    pub got: String,
    /// Why that may be, in one sentence.
    pub reason: String,
    /// Over which transport: `udp`, `tcp`, `udp and tcp`, `tls` or `https`.
    pub transport: String,
}

/// Endpoints, records or zones that do not fit together, as `/drift` lists them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discovered {
    /// The kind of drift.
    pub kind: String,
    /// The endpoint, record, workspace or zone.
    pub subject: String,
    /// One sentence.
    pub reason: String,
    /// What to do about it.
    pub fix: String,
}

impl Report {
    /// Compares what came back with what was expected.
    pub fn new(checks: &[Check], asked: &Asked, unchecked: Vec<Unchecked>) -> Self {
        let encrypted = asked.encrypted.iter().map(|over| over.listener.transport.to_owned());
        let transports = ["udp".to_owned(), "tcp".to_owned()].into_iter().chain(encrypted).collect();
        let mut report = Self { checked: checks.len(), transports, unchecked, ..Self::default() };
        for over in &asked.encrypted {
            if let (Err(error), Some(check)) = (&over.answers, checks.first()) {
                let reason = format!("The listener {} does not answer: {error}.", over.listener.target);
                let difference = difference(check, None, over.listener.transport);
                report.differences.push(Difference { reason, ..difference });
            }
        }
        for (number, check) in checks.iter().enumerate() {
            let of = |answers: &[Option<Observed>]| answers.get(number).cloned().flatten();
            let (udp, tcp) = (of(&asked.udp), of(&asked.tcp));
            report.cases.push((check.name.to_string(), check.rtype.to_string()));
            // What is truncated over UDP is asked for over TCP.
            let over_udp = udp.as_ref().is_some_and(|udp| udp.truncated && udp.rcode == Rcode::NOERROR);
            let bad_udp = !over_udp && !is_right(check, udp.as_ref());
            let bad_tcp = !is_right(check, tcp.as_ref());
            let is_unknown = matches!(check.expected, Expected::LeadsTo(_))
                && [&udp, &tcp].iter().all(|one| one.as_ref().is_none_or(|one| one.rcode == Rcode::SERVFAIL));
            if is_unknown {
                let reason = "the upstream of this public name does not answer".to_owned();
                let (name, rtype) = (check.name.to_string(), check.rtype.to_string());
                report.unchecked.push(Unchecked { name, rtype, reason });
                continue;
            }
            match (bad_udp, bad_tcp) {
                (true, true) if udp == tcp => report.differences.push(difference(check, udp.as_ref(), "udp and tcp")),
                _ => {
                    report.differences.extend(bad_udp.then(|| difference(check, udp.as_ref(), "udp")));
                    report.differences.extend(bad_tcp.then(|| difference(check, tcp.as_ref(), "tcp")));
                }
            }
            for over in &asked.encrypted {
                if let Ok(answers) = &over.answers
                    && let got = of(answers)
                    && !is_right(check, got.as_ref())
                {
                    report.differences.push(difference(check, got.as_ref(), over.listener.transport));
                }
            }
            if let Some(old) = asked.against.get(number)
                && !old.as_ref().is_some_and(|old| old.truncated)
                && !is_right(check, old.as_ref())
            {
                report.drift.push(difference(check, old.as_ref(), "udp"));
            }
        }
        report
    }

    /// JUnit's XML: a test case for each question.
    pub fn junit(&self) -> String {
        let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        let (tests, failures, skipped) =
            (self.cases.len() + self.unchecked.len(), self.differences.len(), self.unchecked.len());
        let counts = format!("tests=\"{tests}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\"");
        // Writing to a String does not fail.
        let _ = writeln!(out, "<testsuites {counts}>\n  <testsuite name=\"pldns verify\" {counts}>");
        let mut failed = std::collections::HashMap::<(&str, &str), Vec<&Difference>>::new();
        for difference in &self.differences {
            failed.entry((&difference.name, &difference.rtype)).or_default().push(difference);
        }
        for (name, rtype) in &self.cases {
            let case = format!("    <testcase classname=\"pldns.verify\" name=\"{} {}\"", Xml(name), Xml(rtype));
            let Some(differences) = failed.get(&(name.as_str(), rtype.as_str())) else {
                let _ = writeln!(out, "{case}/>");
                continue;
            };
            let _ = writeln!(out, "{case}>");
            for one in differences {
                let message = format!("expected {}, got {} over {}", one.expected, one.got, one.transport);
                let _ = writeln!(out, "      <failure message=\"{}\">{}</failure>", Xml(&message), Xml(&one.reason));
            }
            let _ = writeln!(out, "    </testcase>");
        }
        for one in &self.unchecked {
            let _ = writeln!(
                out,
                "    <testcase classname=\"pldns.verify\" name=\"{} {}\"><skipped message=\"{}\"/></testcase>",
                Xml(&one.name),
                Xml(&one.rtype),
                Xml(&one.reason)
            );
        }
        let discovered = self.discovered.as_deref().unwrap_or_default();
        if !self.drift.is_empty() || !discovered.is_empty() {
            let _ = writeln!(out, "    <system-out>");
            for one in &self.drift {
                let line = format!("drift: {} {}: expected {}, got {}", one.name, one.rtype, one.expected, one.got);
                let _ = writeln!(out, "{}", Xml(&line));
            }
            for one in discovered {
                let line = format!("drift: {} {}: {}", one.kind, one.subject, one.reason);
                let _ = writeln!(out, "{}", Xml(&line));
            }
            let _ = writeln!(out, "    </system-out>");
        }
        out + "  </testsuite>\n</testsuites>\n"
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, title: &str, all: &[Difference]| -> fmt::Result {
            for one in all {
                writeln!(f, "{title}: {} {} over {}", one.name, one.rtype, one.transport)?;
                writeln!(f, "  expected {}", one.expected)?;
                writeln!(f, "  got      {}", one.got)?;
                writeln!(f, "  {}", one.reason)?;
            }
            Ok(())
        };
        list(f, "difference", &self.differences)?;
        list(f, "drift", &self.drift)?;
        let discovered = self.discovered.as_deref().unwrap_or_default();
        for one in discovered {
            writeln!(f, "drift: {} {}", one.kind, one.subject)?;
            writeln!(f, "  {}", one.reason)?;
            writeln!(f, "  {}", one.fix)?;
        }
        for one in &self.unchecked {
            writeln!(f, "not checked: {} {}: {}", one.name, one.rtype, one.reason)?;
        }
        writeln!(
            f,
            "{} questions asked over {}: {} differences, {} drift, {} not checked",
            self.checked,
            listed(&self.transports),
            self.differences.len(),
            self.drift.len() + discovered.len(),
            self.unchecked.len()
        )
    }
}

/// `UDP and TCP`, `UDP, TCP and TLS`.
fn listed(transports: &[String]) -> String {
    let transports: Vec<String> = transports.iter().map(|word| word.to_uppercase()).collect();
    match transports.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}

fn is_right(check: &Check, got: Option<&Observed>) -> bool {
    let expected = check.expected.observed();
    got.is_some_and(|got| got.rcode == expected.rcode && got.data == expected.data)
}

fn difference(check: &Check, got: Option<&Observed>, transport: &str) -> Difference {
    Difference {
        name: check.name.to_string(),
        rtype: check.rtype.to_string(),
        expected: check.expected.observed().shown(),
        got: got.map_or_else(|| "no answer".to_owned(), Observed::shown),
        reason: reason(check, got).to_owned(),
        transport: transport.to_owned(),
    }
}

fn reason(check: &Check, got: Option<&Observed>) -> &'static str {
    let Some(got) = got else {
        return "The server does not answer: is it running, and is the way to it open over this transport?";
    };
    let is_public = got.data.iter().filter_map(|data| data.parse().ok()).any(|address| !is_private(address));
    match (got.rcode, &check.expected) {
        (Rcode::REFUSED, _) => "The server refuses this machine: it is not in its [access] allow.",
        (Rcode::SERVFAIL, _) => "The server has no record for the name, and its upstream does not answer.",
        (_, Expected::LeadsTo(_)) => {
            "The public name does not lead to the record of its privatelink name: `pldns explain` says why."
        }
        (Rcode::NXDOMAIN, _) => "The server does not have the record: its records are older, or a view hides it.",
        _ if is_public => "The answer is public: the server does not have the record, or a view hides it.",
        _ if check.expected.observed().data.is_empty() => "The server has data of this type: it should answer NODATA.",
        _ => "The server has other data: its records are not these, or another server answers.",
    }
}

/// A text in XML.
struct Xml<'t>(&'t str);

impl fmt::Display for Xml<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                letter if letter.is_control() => f.write_char('?')?,
                letter => f.write_char(letter)?,
            }
        }
        Ok(())
    }
}
