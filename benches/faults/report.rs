//! The table and the list of figures.

use std::time::Duration;

use crate::figures::percentile;
use crate::load::{Experience, Group};
use crate::{Row, fault::Fault};

const HEAD: [&str; 14] = [
    "fault",
    "server",
    "forwarded %",
    "p50 ms",
    "p99 ms",
    "expiring %",
    "cached %",
    "p99 ms",
    "table %",
    "p99 ms",
    "q/miss",
    "back s",
    "MiB",
    "fd",
];

/// The rows of the table, its head first.
pub(crate) fn shown(rows: &[Row]) -> Vec<Vec<String>> {
    let head = HEAD.iter().map(|text| (*text).to_owned()).chain(["more".to_owned()]).collect();
    let mut lines = vec![head];
    let mut last = None;
    for row in rows {
        let fault = if last == Some(row.fault) { "" } else { row.fault.name() };
        last = Some(row.fault);
        let experience = &row.experience;
        let all = Duration::ZERO..Duration::MAX;
        let success = |group| experience.success(group, all.clone()).map_or_else(|| "-".to_owned(), percent);
        let ms = |group, percent| {
            let times = experience.times(group);
            if times.is_empty() { "-".to_owned() } else { milliseconds(percentile(&times, percent)) }
        };
        lines.push(vec![
            fault.to_owned(),
            row.server.name().to_owned(),
            by_phase(row, Group::Forwarded),
            ms(Group::Forwarded, 50.0),
            ms(Group::Forwarded, 99.0),
            by_phase(row, Group::Expiring),
            success(Group::Cached),
            ms(Group::Cached, 99.0),
            success(Group::Table),
            ms(Group::Table, 99.0),
            format!("{:.2}", row.per_miss),
            back(row).map_or_else(|| "-".to_owned(), |back| format!("{:.2}", back.as_secs_f64())),
            format!("{} > {}", row.memory[0], row.memory[1]),
            format!("{} > {}", row.descriptors[0], row.descriptors[1]),
            more(row),
        ]);
    }
    lines
}

/// When a fault that ends does.
fn end(row: &Row) -> Option<Duration> {
    row.fault.thirds().filter(|thirds| thirds.end < 3).map(|thirds| row.length / 3 * thirds.end)
}

fn back(row: &Row) -> Option<Duration> {
    end(row).map(|end| row.experience.recovery(end))
}

/// Success; of a fault with a time of its own within it, and after it where it ends.
fn by_phase(row: &Row, group: Group) -> String {
    let success = |asked| row.experience.success(group, asked).map_or_else(|| "-".to_owned(), percent);
    let Some(thirds) = row.fault.thirds() else { return success(Duration::ZERO..Duration::MAX) };
    let within = success(row.length / 3 * thirds.start..row.length / 3 * thirds.end);
    match end(row) {
        Some(end) => format!("{within}, {}", success(end..Duration::MAX)),
        None => within,
    }
}

/// What is of interest in some rows alone.
fn more(row: &Row) -> String {
    let Experience { wrong, late, .. } = row.experience;
    let mut more = Vec::new();
    let all = Duration::ZERO..Duration::MAX;
    more.extend(row.experience.success(Group::Slow, all).map(|slow| format!("slow names {} %", percent(slow))));
    if row.fault == Fault::Burst {
        more.push(format!("{} over the limit", row.over_limit));
    }
    if end(row).is_some() {
        more.push(format!("{} queries in 100 ms", row.most_after));
    }
    if wrong > 0 {
        more.push(format!("{wrong} wrong"));
    }
    if late > 0 {
        more.push(format!("{late} late replies"));
    }
    more.join("; ")
}

fn percent(percent: f64) -> String {
    // What is not all is not shown as all.
    if percent >= 100.0 { "100".to_owned() } else { format!("{:.2}", percent.min(99.99)) }
}

fn milliseconds(micros: u32) -> String {
    let ms = f64::from(micros) / 1000.0;
    if ms < 100.0 { format!("{ms:.1}") } else { format!("{ms:.0}") }
}

pub(crate) fn to_json(row: &Row) -> serde_json::Value {
    let experience = &row.experience;
    let success = |group| experience.success(group, Duration::ZERO..Duration::MAX);
    let within = |group| {
        let thirds = row.fault.thirds()?;
        experience.success(group, row.length / 3 * thirds.start..row.length / 3 * thirds.end)
    };
    let after = |group| experience.success(group, end(row)?..Duration::MAX);
    let groups = [
        (Group::Forwarded, "forwarded"),
        (Group::Expiring, "expiring"),
        (Group::Cached, "cached"),
        (Group::Table, "table"),
        (Group::Slow, "slow"),
    ];
    let by_group = groups.into_iter().map(|(group, name)| {
        let times = experience.times(group);
        let figures = serde_json::json!({
            "asked": experience.asked(group),
            "success_percent": success(group),
            "success_percent_within": within(group),
            "success_percent_after": after(group),
            "p50_us": percentile(&times, 50.0),
            "p99_us": percentile(&times, 99.0),
        });
        (name.to_owned(), figures)
    });
    serde_json::json!({
        "fault": row.fault.name(),
        "server": row.server.name(),
        "groups": serde_json::Map::from_iter(by_group),
        "wrong": experience.wrong,
        "late": experience.late,
        "queries_per_miss": row.per_miss,
        "recovery_seconds": back(row).map(|back| back.as_secs_f64()),
        "most_in_100_ms_after": row.most_after,
        "over_limit": row.over_limit,
        "memory_mib": row.memory,
        "descriptors": row.descriptors,
    })
}
