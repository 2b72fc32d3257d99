//! Figures of a row, and the table of all.

use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::servers::Server;

/// What a row was found to be.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) fault: String,
    pub(crate) server: String,
    pub(crate) groups: Vec<OfGroup>,
    pub(crate) wrong: usize,
    pub(crate) late: usize,
    /// Queries that came upstream for each name that was never asked before, TCP included.
    pub(crate) queries_per_miss: f64,
    /// How long after the end of the fault the last forwarded query was asked that got no right answer.
    pub(crate) recovery_seconds: Option<f64>,
    /// The most queries that came upstream in 100 ms, after the fault where it ends.
    pub(crate) most_in_100_ms_after: usize,
    /// Queries that exceeded the upstream's limits.
    pub(crate) over_limit: usize,
    /// Queries received, less those answered, refused and dropped, by the server's own account.
    pub(crate) account: Option<i64>,
    /// Before and after.
    pub(crate) memory_mib: [u64; 2],
    /// Before, after, and some seconds later.
    pub(crate) descriptors: [usize; 3],
    pub(crate) cpu_seconds: f64,
    /// What is of interest in some rows alone.
    pub(crate) more: Vec<String>,
}

/// Of one kind of names.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct OfGroup {
    pub(crate) name: String,
    pub(crate) asked: usize,
    /// Right answers of a hundred: in all, within the time of the fault, and after it.
    pub(crate) success: Option<f64>,
    pub(crate) success_within: Option<f64>,
    pub(crate) success_after: Option<f64>,
    /// How long right answers took, and failures.
    pub(crate) p50_us: Option<u32>,
    pub(crate) p99_us: Option<u32>,
    pub(crate) failed_p50_us: Option<u32>,
}

/// A row: figures, or why there are none.
pub(crate) struct Row {
    pub(crate) fault: &'static Fault,
    pub(crate) server: Server,
    pub(crate) result: Result<Figures, String>,
}

const HEAD: [&str; 18] = [
    "fault",
    "server",
    "forwarded %",
    "p50 ms",
    "p99 ms",
    "fail ms",
    "expiring %",
    "cached %",
    "p99 ms",
    "table %",
    "p99 ms",
    "q/miss",
    "back s",
    "wrong",
    "identity",
    "MiB",
    "fd",
    "more",
];

/// The rows of the table, its head first.
pub(crate) fn shown(rows: &[Row]) -> Vec<Vec<String>> {
    let mut lines = vec![HEAD.map(str::to_owned).to_vec()];
    let mut last = "";
    for row in rows {
        let name = if last == row.fault.id { "" } else { row.fault.name };
        last = row.fault.id;
        let mut line = vec![name.to_owned(), row.server.name().to_owned()];
        match &row.result {
            Ok(figures) => line.extend(cells(figures)),
            Err(reason) => {
                line.resize(HEAD.len() - 1, "-".to_owned());
                line.push(reason.clone());
            }
        }
        lines.push(line);
    }
    lines
}

fn cells(figures: &Figures) -> Vec<String> {
    let of = |name: &str| figures.groups.iter().find(|group| group.name == name);
    let success = |name| of(name).map_or_else(none, by_phase);
    let ms = |name, time: fn(&OfGroup) -> Option<u32>| of(name).and_then(time).map_or_else(none, milliseconds);
    let slow = of("slow").and_then(|slow| slow.success).map(|slow| format!("slow names {} %", percent(slow)));
    let more: Vec<String> = slow.into_iter().chain(figures.more.iter().cloned()).collect();
    vec![
        success("forwarded"),
        ms("forwarded", |group| group.p50_us),
        ms("forwarded", |group| group.p99_us),
        ms("forwarded", |group| group.failed_p50_us),
        success("expiring"),
        success("cached"),
        ms("cached", |group| group.p99_us),
        success("table"),
        ms("table", |group| group.p99_us),
        format!("{:.2}", figures.queries_per_miss),
        figures.recovery_seconds.map_or_else(none, |back| format!("{back:.2}")),
        figures.wrong.to_string(),
        figures.account.map_or_else(none, |account| account.to_string()),
        figures.memory_mib.map(|mib| mib.to_string()).join(" > "),
        descriptors(figures.descriptors),
        more.join("; "),
    ]
}

/// Success; of a fault with a time of its own within it and, where it ends, after it, if the two are not the same.
fn by_phase(group: &OfGroup) -> String {
    let all = group.success.map_or_else(none, percent);
    match (group.success_within.map(percent), group.success_after.map(percent)) {
        (Some(within), Some(after)) if within == after => within,
        (Some(within), Some(after)) => format!("{within}, {after}"),
        (Some(within), None) => within,
        _ => all,
    }
}

fn descriptors([before, after, later]: [usize; 3]) -> String {
    let left = if later == after { String::new() } else { format!(" > {later}") };
    format!("{before} > {after}{left}")
}

fn none() -> String {
    "-".to_owned()
}

fn percent(percent: f64) -> String {
    // What is not all is not shown as all.
    if percent >= 100.0 { "100".to_owned() } else { format!("{:.2}", percent.min(99.99)) }
}

fn milliseconds(micros: u32) -> String {
    let ms = f64::from(micros) / 1000.0;
    if ms < 100.0 { format!("{ms:.1}") } else { format!("{ms:.0}") }
}
