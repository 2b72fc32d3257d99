//! What a query costs where workers share it all (`--workers`): pldns with one worker and with more, each on a core of its own,
//! and beside it as many processes with one worker each, which share nothing.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::figures::table;
use crate::load::{Load, Pace, Upstream};
use crate::peers::{Peer, Setup};
use crate::process::{Running, free_port};
use crate::scratch::Scratch;
use crate::work::{Source, Template, Work, record_name};
use crate::{Args, run, usage, warm};

/// One pldns, or several.
struct Subject {
    workers: u8,
    processes: u8,
    ports: &'static str,
    running: Vec<Running>,
    source: Source,
    /// CPU microseconds a query, of each round.
    costs: Vec<f64>,
    /// Queries that were sent and answered.
    sent: u64,
    answered: u64,
    // Their files live as long as they do.
    _scratches: Vec<Scratch>,
}

/// Each stream with each number of workers, all in turn: the table of costs.
pub(crate) fn measure(args: &Args, pin: Option<&Path>) -> Result<String, Box<dyn std::error::Error>> {
    let length = Duration::from_secs_f64(args.seconds);
    let head = ["stream", "workers", "processes", "CPU us/query", "least, most", "/ the first", "answered %"];
    let mut text = vec![head.map(str::to_owned).to_vec()];
    let works = if args.work.is_empty() { &Work::ALL } else { &*args.work };
    for &work in works {
        let all_ports: &[_] = if work == Work::Forwarded { &["fresh", "pool"] } else { &["fresh"] };
        for &ports in all_ports {
            let name =
                if work == Work::Forwarded { format!("{} {ports}", work.name()) } else { work.name().to_owned() };
            let mut upstream = Upstream::new()?;
            let mut subjects = Vec::new();
            for &workers in &args.workers {
                subjects.push(Subject::start(args, work, ports, (workers, 1), pin, &mut upstream)?);
                if workers > 1 {
                    subjects.push(Subject::start(args, work, ports, (1, workers), pin, &mut upstream)?);
                }
            }
            for round in 1..=args.rounds {
                eprintln!("{name}: round {round} of {}", args.rounds);
                for subject in &mut subjects {
                    subject.sample(length, &mut upstream)?;
                }
            }
            let first = subjects.first().map_or(f64::NAN, Subject::cost);
            for subject in &mut subjects {
                subject.costs.sort_unstable_by(f64::total_cmp);
                text.push(vec![
                    name.clone(),
                    subject.workers.to_string(),
                    subject.processes.to_string(),
                    format!("{:.2}", subject.cost()),
                    format!("{:.2}, {:.2}", subject.costs[0], subject.costs[subject.costs.len() - 1]),
                    format!("{:.2}", subject.cost() / first),
                    format!("{:.2}", subject.answered as f64 * 100.0 / subject.sent.max(1) as f64),
                ]);
            }
        }
    }
    Ok(table(&text))
}

/// Has each worker of a process on a core of its own, the first one on `first`: the kernel would let two share one core, for the load
/// generator seems busier.
fn pin_workers(taskset: &Path, pid: u32, first: u8) -> std::io::Result<()> {
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
        let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        let worker = name.trim_end().strip_prefix("worker-").and_then(|number| number.parse::<u8>().ok());
        if let (Some(worker), Some(thread)) = (worker, task.file_name().to_str()) {
            let cpu = (first + worker).to_string();
            Command::new(taskset).args(["-c", "-p", &cpu, thread]).stdout(Stdio::null()).status()?;
        }
    }
    Ok(())
}

impl Subject {
    /// So many workers in each of so many processes, all together on as many cores.
    fn start(
        args: &Args,
        work: Work,
        ports: &'static str,
        (workers, processes): (u8, u8),
        pin: Option<&Path>,
        upstream: &mut Upstream,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let probe = if work.has_records() { record_name(0) } else { "probe.cached.example".to_owned() };
        let (mut running, mut scratches) = (Vec::new(), Vec::new());
        for process in 0..processes {
            let scratch = Scratch::new(&format!("cores-{}-{ports}-{workers}-{processes}-{process}", work.name()));
            let port = free_port();
            let setup = Setup { scratch: &scratch, port, upstream: upstream.address, work, records: args.records };
            let settings = setup.pldns_with(ports, &format!("[process]\nworkers = {workers}\n"));
            let mut command = Peer::Pldns
                .pinned_to(pin, &format!("{process}-{}", process + workers - 1))
                .ok_or("pldns is not built")?;
            command.arg("serve").arg("-c").arg(settings);
            let started = run(command, port, &probe, &scratch.path().join("log"), upstream)?;
            if let Some(taskset) = pin {
                pin_workers(taskset, started.pid(), process)?;
            }
            if work.has_cached() {
                warm(&started, &Source::to_warm(), upstream)?;
            }
            running.push(started);
            scratches.push(scratch);
        }
        let source = Source::new(work, args.records, args.lengths);
        let (costs, sent, answered) = (Vec::new(), 0, 0);
        let mut subject =
            Self { workers, processes, ports, running, source, costs, sent, answered, _scratches: scratches };
        subject.check(work, upstream)?;
        Ok(subject)
    }

    /// Sees that it answers rightly.
    fn check(&mut self, work: Work, upstream: &mut Upstream) -> Result<(), Box<dyn std::error::Error>> {
        let mut left = crate::CHECKED;
        let mut load = Load::over(&self.addresses(), upstream, true)?;
        let outcome = load.run(Duration::from_secs(10), Pace::Window, |send| {
            left = left.saturating_sub(1);
            if left > 0 {
                send(self.source.draw());
            }
            left > 0
        });
        if outcome.wrong > 0 || outcome.answered == 0 {
            let (name, ports, workers) = (work.name(), self.ports, self.workers);
            let (wrong, answered) = (outcome.wrong, outcome.answered);
            return Err(format!("{name}, {ports}, {workers} workers: {wrong} of {answered} answers are wrong").into());
        }
        Ok(())
    }

    fn sample(&mut self, length: Duration, upstream: &mut Upstream) -> std::io::Result<()> {
        let mut load = Load::over(&self.addresses(), upstream, false)?;
        let source = &mut self.source;
        let mut draw = |send: &mut dyn FnMut(&Template)| {
            send(source.draw());
            true
        };
        load.run(length / 10, Pace::Window, &mut draw);
        let family: Vec<u32> = self.running.iter().flat_map(|running| usage::family(running.pid())).collect();
        let before = usage::run_time(&family);
        let outcome = load.run(length, Pace::Window, &mut draw);
        let cpu = usage::run_time(&family).saturating_sub(before);
        self.costs.push(cpu.as_secs_f64() * 1e6 / outcome.answered.max(1) as f64);
        self.sent += outcome.sent;
        self.answered += outcome.answered;
        Ok(())
    }

    /// Where it answers.
    fn addresses(&self) -> Vec<SocketAddr> {
        self.running.iter().map(|running| running.address).collect()
    }

    /// The median, CPU microseconds a query.
    fn cost(&self) -> f64 {
        let mut costs = self.costs.clone();
        costs.sort_unstable_by(f64::total_cmp);
        costs.get(costs.len() / 2).copied().unwrap_or(f64::NAN)
    }
}
