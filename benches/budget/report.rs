//! From what clients and upstream saw to figures, and from figures to tables. The goals stand here.

use std::time::Duration;

use serde_json::{Value, json};

use crate::azure::Tally;
use crate::clients::{Experience, Group, Lookup, Outcome};
use crate::figures::{percentile, table};
use crate::scenario::{Plan, Scenario};

/// A lookup that takes longer than this, begun after an outage's end, says that the server is not back yet.
const BACK: u32 = 200_000;

/// What a figure must be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    AtLeast(f64),
    AtMost(f64),
    /// Reported, not judged.
    None,
}

/// One figure of a run.
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) value: f64,
    pub(crate) decimals: usize,
    pub(crate) goal: Goal,
}

impl Figure {
    fn new(name: &'static str, value: f64, decimals: usize, goal: Goal) -> Self {
        Self { name, value, decimals, goal }
    }

    pub(crate) fn is_met(&self) -> bool {
        match self.goal {
            Goal::AtLeast(goal) => self.value >= goal,
            Goal::AtMost(goal) => self.value <= goal,
            Goal::None => true,
        }
    }

    fn show(&self) -> String {
        format!("{:.*}", self.decimals, self.value)
    }

    fn show_goal(&self) -> String {
        match self.goal {
            Goal::AtLeast(goal) => format!(">= {goal}"),
            Goal::AtMost(goal) => format!("<= {goal}"),
            Goal::None => String::new(),
        }
    }
}

/// Some of a run's lookups.
struct Share {
    success: f64,
    /// Of the successful ones, sorted, microseconds.
    took: Vec<u32>,
}

impl Share {
    fn of(experience: &Experience, which: impl Fn(&Lookup) -> bool) -> Self {
        let lookups: Vec<&Lookup> = experience.lookups.iter().filter(|lookup| which(lookup)).collect();
        let right = lookups.iter().filter(|lookup| lookup.outcome == Outcome::Right);
        let mut took: Vec<u32> = right.map(|lookup| lookup.took).collect();
        took.sort_unstable();
        let success = if lookups.is_empty() { 100.0 } else { took.len() as f64 * 100.0 / lookups.len() as f64 };
        Self { success, took }
    }

    fn milliseconds(&self, percent: f64) -> f64 {
        f64::from(percentile(&self.took, percent)) / 1000.0
    }
}

/// The figures of a run.
pub(crate) fn figures(scenario: Scenario, plan: &Plan, experience: &Experience, upstream: &Tally) -> Vec<Figure> {
    use Goal::{AtLeast, AtMost, None};
    let all = Share::of(experience, |_| true);
    let group = |group| Share::of(experience, move |lookup| lookup.group == group);
    let latency = |share: &Share, p99, p999| {
        [
            Figure::new("p50 ms", share.milliseconds(50.0), 2, None),
            Figure::new("p99 ms", share.milliseconds(99.0), 1, p99),
            Figure::new("p99.9 ms", share.milliseconds(99.9), 1, p999),
        ]
    };
    let seconds = plan.length.as_secs() as usize;
    let loaded = &upstream.seconds[..seconds.min(upstream.seconds.len())];
    let most = f64::from(upstream.seconds.iter().copied().max().unwrap_or(0));
    let mean = f64::from(loaded.iter().sum::<u32>()) / seconds.max(1) as f64;
    let mut figures = Vec::new();
    match scenario {
        Scenario::Steady => {
            figures.push(Figure::new("success %", all.success, 3, AtLeast(99.99)));
            figures.extend(latency(&all, AtMost(20.0), AtMost(60.0)));
        }
        Scenario::Cold => {
            figures.push(Figure::new("success %", all.success, 3, AtLeast(98.0)));
            figures.extend(latency(&all, None, None));
        }
        Scenario::Slow => {
            let (quick, slow) = (group(Group::Quick), group(Group::Slow));
            figures.push(Figure::new("quick %", quick.success, 3, AtLeast(99.99)));
            figures.extend(latency(&quick, AtMost(15.0), None));
            figures.push(Figure::new("slow %", slow.success, 2, AtLeast(95.0)));
            figures.push(Figure::new("slow p99 ms", slow.milliseconds(99.0), 0, None));
        }
        Scenario::Noisy => {
            let (quiet, noisy) = (group(Group::Quiet), group(Group::Noisy));
            figures.push(Figure::new("quiet %", quiet.success, 3, AtLeast(99.99)));
            figures.extend(latency(&quiet, AtMost(20.0), None));
            figures.push(Figure::new("noisy %", noisy.success, 2, AtLeast(50.0)));
            figures.push(Figure::new("noisy answered/s", answered_rate(plan, experience), 0, AtLeast(930.0)));
        }
        Scenario::Outage => {
            let seen = Share::of(experience, |lookup| !lookup.is_new);
            figures.push(Figure::new("seen %", seen.success, 3, AtLeast(99.99)));
            figures.push(Figure::new("all %", all.success, 3, AtLeast(99.2)));
            figures.extend(latency(&seen, None, None));
            figures.extend(outage_figures(plan, experience, upstream));
        }
    }
    let rate_goal = match scenario {
        Scenario::Steady | Scenario::Outage => AtMost(1000.0),
        _ => None,
    };
    let refusal_goal = if scenario == Scenario::Cold { AtMost(0.0) } else { None };
    let wrong = experience.lookups.iter().filter(|lookup| lookup.outcome == Outcome::Wrong).count();
    figures.extend([
        Figure::new("up mean/s", mean, 0, None),
        Figure::new("up max/s", most, 0, rate_goal),
        Figure::new("up answered", upstream.answered as f64, 0, None),
        Figure::new("dropped rate", upstream.over_rate as f64, 0, None),
        Figure::new("dropped pending", upstream.over_pending as f64, 0, None),
        Figure::new("SERVFAIL, REFUSED", experience.refusals as f64, 0, refusal_goal),
        Figure::new("wrong", wrong as f64, 0, AtMost(0.0)),
        Figure::new("lookups", experience.lookups.len() as f64, 0, None),
        Figure::new("lag ms", experience.lag.as_secs_f64() * 1000.0, 0, None),
    ]);
    figures
}

/// Right answers a second to the noisy host from the first second of its load to the last.
fn answered_rate(plan: &Plan, experience: &Experience) -> f64 {
    let window = 1_000_000..plan.length.as_micros() as u64;
    let in_time = experience.lookups.iter().filter(|lookup| {
        let end = u64::from(lookup.begin) + u64::from(lookup.took);
        lookup.group == Group::Noisy && lookup.outcome == Outcome::Right && window.contains(&end)
    });
    in_time.count() as f64 / (plan.length.as_secs_f64() - 1.0).max(1.0)
}

/// What is asked of an outage: names seen before, queries upstream meanwhile, the way back.
fn outage_figures(plan: &Plan, experience: &Experience, upstream: &Tally) -> Vec<Figure> {
    let Some(outage) = &plan.outage else { return Vec::new() };
    let (from, until) = (outage.start.as_micros() as u32, outage.end.as_micros() as u32);
    let meanwhile = Share::of(experience, |lookup| !lookup.is_new && (from..until).contains(&lookup.begin));
    // The second in which the outage begins still has answers on their way.
    let quiet = outage.start.as_secs() as usize + 2..outage.end.as_secs() as usize;
    let asked: u32 = upstream.seconds.get(quiet.clone()).unwrap_or_default().iter().sum();
    let after = |lookup: &&Lookup| lookup.begin >= until;
    let late =
        experience.lookups.iter().filter(after).filter(|lookup| lookup.outcome != Outcome::Right || lookup.took > BACK);
    let back = late.map(|lookup| lookup.begin - until).max().unwrap_or(0);
    let first_new = experience.lookups.iter().filter(|lookup| lookup.is_new && lookup.outcome == Outcome::Right);
    let first_new = first_new.filter_map(|lookup| (lookup.begin + lookup.took).checked_sub(until)).min();
    vec![
        Figure::new("seen in outage %", meanwhile.success, 3, Goal::AtLeast(99.99)),
        Figure::new("up in outage/s", f64::from(asked) / quiet.len().max(1) as f64, 1, Goal::AtMost(20.0)),
        Figure::new("first new ms", first_new.map_or(f64::NAN, |micros| f64::from(micros) / 1000.0), 0, Goal::None),
        Figure::new("back after ms", f64::from(back) / 1000.0, 0, Goal::AtMost(1000.0)),
    ]
}

/// A run of one server in one scenario.
pub(crate) struct Run {
    pub(crate) scenario: Scenario,
    pub(crate) server: &'static str,
    pub(crate) figures: Vec<Figure>,
}

/// The table of a scenario: a column for each server, the goals, and whether pldns meets them.
pub(crate) fn show(scenario: Scenario, runs: &[Run]) -> String {
    let runs: Vec<&Run> = runs.iter().filter(|run| run.scenario == scenario).collect();
    let Some(first) = runs.first() else {
        return String::new();
    };
    let judged = runs.iter().find(|run| run.server == "pldns");
    let mut head = vec![scenario.name().to_owned()];
    head.extend(runs.iter().map(|run| run.server.to_owned()));
    head.extend(["must".to_owned(), "pldns".to_owned()]);
    let mut rows = vec![head];
    for (number, figure) in first.figures.iter().enumerate() {
        let mut row = vec![figure.name.to_owned()];
        row.extend(runs.iter().map(|run| run.figures[number].show()));
        row.push(figure.show_goal());
        row.push(match (figure.goal, judged) {
            (Goal::None, _) | (_, None) => String::new(),
            (_, Some(run)) if run.figures[number].is_met() => "pass".to_owned(),
            (_, Some(_)) => "MISS".to_owned(),
        });
        rows.push(row);
    }
    table(&rows)
}

/// The runs as JSON, one object each.
pub(crate) fn to_json(runs: &[Run]) -> Value {
    let run = |run: &Run| {
        let figures: serde_json::Map<String, Value> =
            run.figures.iter().map(|figure| (figure.name.to_owned(), json!(figure.value))).collect();
        json!({ "scenario": run.scenario.name(), "server": run.server, "figures": figures })
    };
    Value::Array(runs.iter().map(run).collect())
}

/// How long a run takes with its warming and its last lookups, for the announcement.
pub(crate) fn about(plan: &Plan) -> Duration {
    plan.length + Duration::from_secs(10) + Duration::from_secs(u64::from(plan.warm.end) / 900)
}
