//! Samples to medians, medians to a table with the ratios that the goals speak of.

use std::time::Duration;

use serde_json::{Value, json};

use crate::figures::{percentile, table};
use crate::load::Outcome;
use crate::peers::Peer;
use crate::work::Work;

/// One turn of one server.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    /// CPU microseconds a query.
    cost: f64,
    per_second: f64,
    answered_percent: f64,
    wrong: u64,
    /// Microseconds at the fixed rate.
    p50: f64,
    p99: f64,
    /// Answered at the higher fixed rate of W3.
    forwarded_percent: Option<f64>,
}

impl Sample {
    /// Whether any answer came.
    pub(crate) fn has_answers(&self) -> bool {
        self.answered_percent > 0.0
    }

    pub(crate) fn new(full: &Outcome, cpu: Duration, paced: &Outcome, forwarded: Option<&Outcome>) -> Self {
        let share = |outcome: &Outcome| outcome.answered as f64 * 100.0 / outcome.sent.max(1) as f64;
        let at = |percent| f64::from(percentile(&paced.took, percent)) / 1000.0;
        Self {
            cost: cpu.as_secs_f64() * 1e6 / full.answered.max(1) as f64,
            per_second: full.answered as f64 / full.length.as_secs_f64(),
            answered_percent: share(full),
            wrong: full.wrong + paced.wrong,
            p50: at(50.0),
            p99: at(99.0),
            forwarded_percent: forwarded.map(share),
        }
    }
}

/// One turn of one server at one fixed rate.
#[derive(Debug, Clone)]
pub(crate) struct Paced {
    /// CPU microseconds a query.
    cost: f64,
    answered_percent: f64,
    /// Microseconds: p50, p99, p99.9.
    took: [f64; 3],
}

impl Paced {
    pub(crate) fn new(outcome: &Outcome, cpu: Duration) -> Self {
        Self {
            cost: cpu.as_secs_f64() * 1e6 / outcome.answered.max(1) as f64,
            answered_percent: outcome.answered as f64 * 100.0 / outcome.sent.max(1) as f64,
            took: [50.0, 99.0, 99.9].map(|percent| f64::from(percentile(&outcome.took, percent)) / 1000.0),
        }
    }

    /// Whether any answer came.
    pub(crate) fn has_answers(&self) -> bool {
        self.answered_percent > 0.0
    }
}

/// A server's figures.
pub(crate) struct Row {
    pub(crate) peer: Peer,
    started_in: Duration,
    /// KiB after the first answer.
    idle_memory: u64,
    /// Answers that were read whole, and how many of them were wrong.
    pub(crate) checked: (u64, u64),
    /// KiB after the last round.
    pub(crate) memory: u64,
    pub(crate) samples: Vec<Sample>,
    /// By turn, then by rate.
    pub(crate) paced: Vec<Vec<Paced>>,
}

impl Row {
    pub(crate) fn new(peer: Peer, started_in: Duration, idle_memory: u64) -> Self {
        Self { peer, started_in, idle_memory, checked: (0, 0), memory: 0, samples: Vec::new(), paced: Vec::new() }
    }

    fn sorted(&self, of: impl Fn(&Sample) -> f64) -> Vec<f64> {
        let mut values: Vec<f64> = self.samples.iter().map(of).collect();
        values.sort_unstable_by(f64::total_cmp);
        values
    }

    fn median(&self, of: impl Fn(&Sample) -> f64) -> f64 {
        let values = self.sorted(of);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    }

    fn sorted_at(&self, rate: usize, of: impl Fn(&Paced) -> f64) -> Vec<f64> {
        let mut values: Vec<f64> = self.paced.iter().filter_map(|turn| turn.get(rate)).map(of).collect();
        values.sort_unstable_by(f64::total_cmp);
        values
    }

    fn median_at(&self, rate: usize, of: impl Fn(&Paced) -> f64) -> f64 {
        let values = self.sorted_at(rate, of);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    }

    fn cost(&self) -> f64 {
        self.median(|sample| sample.cost)
    }

    fn wrong(&self) -> u64 {
        self.checked.1 + if self.peer.is_judged() { self.samples.iter().map(|sample| sample.wrong).sum() } else { 0 }
    }
}

/// The table of one work.
pub(crate) fn show(work: Work, records: u32, rows: &[Row]) -> String {
    let cost_of = |peer| rows.iter().find(|row| row.peer == peer).map(Row::cost);
    let (floor, ours) = (cost_of(Peer::Responder), cost_of(Peer::Pldns));
    let name = if work.has_records() { format!("{} ({records} records)", work.name()) } else { work.name().to_owned() };
    let mut head: Vec<String> =
        ["CPU us/query", "least, most", "/ responder", "pldns / it", "q/s", "answered %", "p50 us", "p99 us"]
            .map(str::to_owned)
            .to_vec();
    head.insert(0, name);
    head.extend(["60k/s %", "wrong", "idle MiB", "MiB", "start ms"].map(str::to_owned));
    let mut text = vec![head];
    for row in rows {
        let costs = row.sorted(|sample| sample.cost);
        let ratio = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.2}"));
        let mebibytes = |kib: u64| format!("{:.1}", kib as f64 / 1024.0);
        let forwarded = row.samples.iter().any(|sample| sample.forwarded_percent.is_some());
        let forwarded = forwarded.then(|| row.median(|sample| sample.forwarded_percent.unwrap_or(0.0)));
        text.push(vec![
            row.peer.name().to_owned(),
            format!("{:.2}", row.cost()),
            format!("{:.2}, {:.2}", costs.first().unwrap_or(&f64::NAN), costs.last().unwrap_or(&f64::NAN)),
            ratio(floor.map(|floor| row.cost() / floor)),
            ratio(ours.map(|ours| ours / row.cost())),
            format!("{:.0}", row.median(|sample| sample.per_second)),
            format!("{:.2}", row.median(|sample| sample.answered_percent)),
            format!("{:.0}", row.median(|sample| sample.p50)),
            format!("{:.0}", row.median(|sample| sample.p99)),
            forwarded.map_or_else(String::new, |percent| format!("{percent:.1}")),
            if row.peer.is_judged() { format!("{} of {}+", row.wrong(), row.checked.0) } else { "-".to_owned() },
            mebibytes(row.idle_memory),
            mebibytes(row.memory),
            row.started_in.as_millis().to_string(),
        ]);
    }
    table(&text)
}

/// The table of one work at fixed rates.
pub(crate) fn show_rates(work: Work, records: u32, rates: &[u32], rows: &[Row]) -> String {
    let name = if work.has_records() { format!("{} ({records} records)", work.name()) } else { work.name().to_owned() };
    let head = ["q/s", "CPU us/query", "least, most", "/ responder", "pldns / it", "answered %", "p50 us", "p99 us"];
    let mut text = vec![[&*name].into_iter().chain(head).chain(["p99.9 us"]).map(str::to_owned).collect::<Vec<_>>()];
    for (place, rate) in rates.iter().enumerate() {
        let cost = |row: &Row| row.median_at(place, |sample| sample.cost);
        let cost_of = |peer| rows.iter().find(|row| row.peer == peer).map(cost);
        let (floor, ours) = (cost_of(Peer::Responder), cost_of(Peer::Pldns));
        let ratio = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.2}"));
        for row in rows {
            let costs = row.sorted_at(place, |sample| sample.cost);
            let took = |at: usize| format!("{:.0}", row.median_at(place, |sample| sample.took[at]));
            text.push(vec![
                row.peer.name().to_owned(),
                rate.to_string(),
                format!("{:.2}", cost(row)),
                format!("{:.2}, {:.2}", costs.first().unwrap_or(&f64::NAN), costs.last().unwrap_or(&f64::NAN)),
                ratio(floor.map(|floor| cost(row) / floor)),
                ratio(ours.map(|ours| ours / cost(row))),
                format!("{:.2}", row.median_at(place, |sample| sample.answered_percent)),
                took(0),
                took(1),
                took(2),
            ]);
        }
    }
    table(&text)
}

/// All rows as JSON.
pub(crate) fn to_json(rows: &[(Work, Row)]) -> Value {
    let row = |(work, row): &(Work, Row)| {
        json!({
            "work": work.name(),
            "server": row.peer.name(),
            "cpu_us_per_query": row.sorted(|sample| sample.cost),
            "per_second": row.sorted(|sample| sample.per_second),
            "p50_us": row.sorted(|sample| sample.p50),
            "p99_us": row.sorted(|sample| sample.p99),
            "at_rates": row.paced.iter().map(|turn| turn.iter().map(|at| json!({
                "cpu_us_per_query": at.cost,
                "answered_percent": at.answered_percent,
                "p50_p99_p999_us": at.took,
            })).collect()).collect::<Vec<Vec<_>>>(),
            "wrong": row.wrong(),
            "idle_kib": row.idle_memory,
            "kib": row.memory,
            "start_ms": row.started_in.as_secs_f64() * 1000.0,
        })
    };
    Value::Array(rows.iter().map(row).collect())
}
