//! How the cost of a query grows with what pldns knows: records, cached answers, rules, views, partial wildcards (`--growth`).

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::dns::{A, address_of};
use crate::figures::table;
use crate::load::{Load, Pace, Upstream};
use crate::peers::Peer;
use crate::process::{Running, free_port};
use crate::scratch::Scratch;
use crate::work::{Source, Template, ZONE, record_name};
use crate::{run, usage, warm};

/// Names that are asked for where what grows is something else.
const ASKED: u32 = 1000;
/// The clients that the load generator is one of.
const OURS: &str = "127.0.0.0/8";

/// One pldns that knows so much.
struct Subject {
    size: u32,
    running: Running,
    source: Source,
    /// CPU microseconds a query, of each round.
    costs: Vec<f64>,
    /// Bytes, once all is there.
    memory: u64,
    // Its files live as long as it does.
    _scratch: Scratch,
}

/// Each series at each of its sizes, all in turn: the table of costs.
pub(crate) fn measure(
    rounds: usize,
    length: Duration,
    pin: Option<&Path>,
) -> Result<String, Box<dyn std::error::Error>> {
    let head = ["what grows", "number", "CPU us/query", "least, most", "/ the least of it", "MiB", "bytes each"];
    let mut text = vec![head.map(str::to_owned).to_vec()];
    for series in Series::ALL {
        let mut upstream = Upstream::new()?;
        let mut subjects = Vec::new();
        for size in series.sizes() {
            eprintln!("{}: starting with {size}", series.name());
            subjects.push(Subject::start(series, size, pin, &mut upstream)?);
        }
        for round in 1..=rounds {
            eprintln!("{}: round {round} of {rounds}", series.name());
            for subject in &mut subjects {
                subject.sample(length, &mut upstream)?;
            }
        }
        let least = subjects.first().map(|first| (first.size, first.cost(), first.memory));
        for subject in &mut subjects {
            let (size, cost, memory) = least.unwrap_or_default();
            subject.costs.sort_unstable_by(f64::total_cmp);
            let more = u64::from(subject.size - size);
            let each = subject.memory.saturating_sub(memory).checked_div(more);
            text.push(vec![
                series.name().to_owned(),
                subject.size.to_string(),
                format!("{:.2}", subject.cost()),
                format!("{:.2}, {:.2}", subject.costs[0], subject.costs[subject.costs.len() - 1]),
                format!("{:.2}", subject.cost() / cost),
                format!("{:.1}", subject.memory as f64 / f64::from(1 << 20)),
                each.map_or_else(String::new, |bytes| bytes.to_string()),
            ]);
        }
    }
    Ok(table(&text))
}

impl Subject {
    fn start(
        series: Series,
        size: u32,
        pin: Option<&Path>,
        upstream: &mut Upstream,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let scratch = Scratch::new(&format!("growth-{}-{size}", series.name().replace(' ', "-")));
        let port = free_port();
        let settings = series.settings(size, &scratch, port, upstream.address);
        let mut command = Peer::Pldns.pinned(pin).ok_or("pldns is not built")?;
        command.arg("serve").arg("-c").arg(settings);
        let running = run(command, port, "probe.example", &scratch.path().join("log"), upstream)?;
        let queries = series.queries(size);
        if series.has_cached() {
            warm(&running, &queries, upstream)?;
        }
        let memory = usage::memory(&usage::family(running.pid())) * 1024;
        let mut subject =
            Self { size, running, source: Source::of(queries), costs: Vec::new(), memory, _scratch: scratch };
        subject.check(series, upstream)?;
        Ok(subject)
    }

    /// Sees that it answers rightly.
    fn check(&mut self, series: Series, upstream: &mut Upstream) -> Result<(), Box<dyn std::error::Error>> {
        let mut left = crate::CHECKED;
        let outcome =
            Load::new(self.running.address, upstream, true)?.run(Duration::from_secs(10), Pace::Window, |send| {
                left = left.saturating_sub(1);
                if left > 0 {
                    send(self.source.draw());
                }
                left > 0
            });
        if outcome.wrong > 0 || outcome.answered == 0 {
            let (name, size) = (series.name(), self.size);
            return Err(format!("{name}, {size}: {} of {} answers are wrong", outcome.wrong, outcome.answered).into());
        }
        Ok(())
    }

    fn sample(&mut self, length: Duration, upstream: &mut Upstream) -> std::io::Result<()> {
        let mut load = Load::new(self.running.address, upstream, false)?;
        let source = &mut self.source;
        let mut draw = |send: &mut dyn FnMut(&Template)| {
            send(source.draw());
            true
        };
        load.run(length / 10, Pace::Window, &mut draw);
        let family = usage::family(self.running.pid());
        let before = usage::run_time(&family);
        let outcome = load.run(length, Pace::Window, &mut draw);
        let cpu = usage::run_time(&family).saturating_sub(before);
        self.costs.push(cpu.as_secs_f64() * 1e6 / outcome.answered.max(1) as f64);
        Ok(())
    }

    /// The median, CPU microseconds a query.
    fn cost(&self) -> f64 {
        let mut costs = self.costs.clone();
        costs.sort_unstable_by(f64::total_cmp);
        costs.get(costs.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

/// What grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Series {
    Records,
    Cached,
    Rules,
    Views,
    NamesWithViews,
    PartialWildcards,
}

impl Series {
    const ALL: [Self; 6] =
        [Self::Records, Self::Cached, Self::Rules, Self::Views, Self::NamesWithViews, Self::PartialWildcards];

    fn name(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::Cached => "cached answers",
            Self::Rules => "rules",
            Self::Views => "views of one name",
            Self::NamesWithViews => "names with two views",
            Self::PartialWildcards => "partial wildcards",
        }
    }

    fn sizes(self) -> [u32; 3] {
        match self {
            Self::Records | Self::Cached => [10_000, 100_000, 1_000_000],
            Self::Rules => [10, 1000, 10_000],
            Self::Views => [1, 100, 1000],
            Self::NamesWithViews | Self::PartialWildcards => [10, 1000, 100_000],
        }
    }

    /// Whether the names that are asked for have to be in the cache first.
    fn has_cached(self) -> bool {
        matches!(self, Self::Cached | Self::Rules)
    }

    /// The queries, each as often as any other.
    fn queries(self, size: u32) -> Vec<Template> {
        let name = |number: u32| match self {
            Self::Records | Self::NamesWithViews => record_name(number),
            Self::Cached => format!("c{number}.z{}.cached.example", number % 64),
            Self::Rules => format!("c{number}.z{}.rules.example", number % size),
            Self::Views => record_name(0),
            Self::PartialWildcards => format!("p{number:06}-x.{ZONE}"),
        };
        let asked = match self {
            Self::Records | Self::Cached => size,
            Self::Rules => ASKED,
            Self::Views => 1,
            Self::NamesWithViews | Self::PartialWildcards => size.min(ASKED),
        };
        (0..asked).map(|number| Template::new(&name(number), A, 0)).collect()
    }

    /// The settings of a pldns that has so much of it; their path.
    fn settings(self, size: u32, scratch: &Scratch, port: u16, upstream: SocketAddr) -> String {
        scratch.write("records.toml", &format!("# records of the benchmark\n{}", self.records(size)));
        let mut text = format!(
            "[listen]\ndns = [\"127.0.0.1:{port}\"]\nadmin = \"\"\n[records]\nfiles = [\"records.toml\"]\n\
             [[zone]]\nname = \"{ZONE}\"\nmissing = \"nxdomain\"\n[cache]\nmax_size = \"1GiB\"\n\
             [[forward]]\nzone = \".\"\nupstreams = [\"{upstream}\"]\n"
        );
        if self == Self::Rules {
            for number in 0..size {
                let _ = write!(text, "[[forward]]\nzone = \"z{number}.rules.example\"\nupstreams = [\"{upstream}\"]\n");
            }
        }
        scratch.write("pldns.toml", &text)
    }

    fn records(self, size: u32) -> String {
        let mut text = String::new();
        let mut record = |name: &str, address: std::net::Ipv4Addr, clients: &str| {
            let _ = write!(text, "[[record]]\nname = \"{name}\"\ntype = \"A\"\ndata = \"{address}\"\n{clients}");
        };
        let clients = |networks: &str| format!("clients = [\"{networks}\"]\n");
        match self {
            Self::Records => {
                (0..size).for_each(|number| record(&record_name(number), address_of(&format!("r{number}")), ""));
            }
            Self::Cached | Self::Rules => {}
            Self::Views => {
                record(&record_name(0), address_of("r0"), &clients(OURS));
                for number in 1..size {
                    let network = format!("10.{}.{}.0/24", number / 256, number % 256);
                    record(&record_name(0), [10, 9, 9, 9].into(), &clients(&network));
                }
            }
            Self::NamesWithViews => {
                for number in 0..size {
                    record(&record_name(number), address_of(&format!("r{number}")), &clients(OURS));
                    record(&record_name(number), [10, 9, 9, 9].into(), &clients("10.0.0.0/8"));
                }
            }
            Self::PartialWildcards => {
                for number in 0..size {
                    let address = address_of(&format!("p{number:06}-x"));
                    record(&format!("p{number:06}-*.{ZONE}"), address, "");
                }
            }
        }
        text
    }
}
