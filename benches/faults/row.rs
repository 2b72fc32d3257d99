//! One server in one fault, both started anew.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::act::{Starter, play};
use crate::admin;
use crate::experience::{Experience, Group};
use crate::fault::{Act, Clients, Datagrams, Fault, Transport, Upstreams};
use crate::group;
use crate::load::{Load, Plan};
use crate::place::Place;
use crate::process::free_port;
use crate::report::{Figures, OfGroup};
use crate::running::{Running, Usage};
use crate::scratch::Scratch;
use crate::servers::{Server, Setup};
use crate::table::NONE;
use crate::upstream::{Tally, Upstream};

/// How long file descriptors of the load may stay open after it.
const SETTLING: Duration = Duration::from_secs(10);
/// What their number changes by without a load.
const USUAL_CHANGE: usize = 8;

/// How a row is measured.
pub(crate) struct Options {
    pub(crate) length: Duration,
    pub(crate) rate: u32,
    pub(crate) seed: u64,
}

/// Measures a row.
pub(crate) fn measure(fault: &Fault, server: Server, place: &Place, options: &Options) -> Result<Figures, String> {
    let said = |error: std::io::Error| error.to_string();
    let length = options.length;
    let time = fault.time.within(length);
    let upstreams = start_upstreams(fault, place, options.seed).map_err(said)?;
    let at = |ip: IpAddr, port: u16| SocketAddr::new(ip, port);
    let ports = if matches!(place, Place::Loopback) { [0; 4].map(|_| free_port()) } else { [53, 8053, 5300, 8054] };
    let [address, admin, other, other_admin] = ports.map(|port| at(place.server(), port));
    let mut addresses: Vec<SocketAddr> = upstreams.iter().map(Upstream::address).collect();
    match fault.upstreams {
        Upstreams::Itself => addresses.push(address),
        Upstreams::ItselfThroughAnother => addresses.push(other),
        _ => {}
    }
    let scratch = Scratch::new(&format!("faults-{}-{}", fault.id, server.name()));
    let other_scratch = Scratch::new(&format!("faults-{}-{}-other", fault.id, server.name()));
    let memory = if let Act::Memory(mib) = fault.act { Some(group::Group::new(mib)?) } else { None };
    let group = memory.as_ref().map(group::Group::members);
    let setup = Setup { fault, place, scratch: &scratch, address, admin, upstreams: &addresses, group: group.clone() };
    let starter = Starter { server, setup };
    let running = starter.start()?;
    let first = [address];
    let second = Setup {
        scratch: &other_scratch,
        address: other,
        admin: other_admin,
        upstreams: &first,
        group,
        ..Setup { fault, place, scratch: &scratch, address, admin, upstreams: &first, group: None }
    };
    let is_second = fault.upstreams == Upstreams::ItselfThroughAnother;
    let _second = is_second.then(|| Starter { server, setup: second }.start()).transpose()?;
    let has_table = server.has_records();
    let plan = Plan { server: address, rate: options.rate, has_table, clients: fault.clients, flood: time.clone() };
    let mut load = Load::new(place, plan).map_err(said)?;
    load.warm();
    let before = running.usage();
    let datagrams = running.datagrams_sent();
    for upstream in &upstreams {
        upstream.begin(length);
    }
    let (experience, played) = std::thread::scope(|scope| {
        let (starter, time, start) = (&starter, &time, Instant::now());
        let acting = scope.spawn(move || play(starter, running, start, time));
        let experience = load.run(length);
        (experience, acting.join())
    });
    let (mut running, mut more) = played.map_err(|_| "what was to happen to the server ended by a panic")??;
    let after = running.usage();
    let later = settled(&mut running, &before, &after);
    let tallies: Vec<Tally> = upstreams.iter().map(Upstream::tally).collect();
    let account = (server == Server::Pldns).then(|| admin::account(admin)).flatten();
    let misses = experience.asked(Group::Forwarded) + experience.asked(Group::Slow) + experience.flood;
    let queries = if fault.is_loop() {
        // Of what left the sockets of the two processes, all but the replies to clients.
        (running.datagrams_sent() - datagrams).saturating_sub(experience.ended.len() as u64)
    } else {
        tallies.iter().map(|tally| tally.queries as u64).sum()
    };
    more.extend(seen(fault, &experience, &tallies));
    if server == Server::Pldns {
        more.extend(admin::dropped(admin));
    }
    if matches!(fault.act, Act::Log(..)) {
        more.push(format!("CPU {:.1} s of {}", after.cpu - before.cpu, length.as_secs()));
        let dropped = (server == Server::Pldns).then(|| admin::lines_dropped(admin)).flatten();
        more.extend(dropped.map(|lines| format!("{lines} log lines dropped")));
    }
    more.extend(memory.and_then(|memory| memory.peak()).map(|peak| format!("{peak} MiB at most")));
    Ok(Figures {
        fault: fault.id.to_owned(),
        server: server.name().to_owned(),
        groups: of_groups(fault, length, &experience),
        wrong: experience.wrong,
        late: experience.late,
        queries_per_miss: queries as f64 / misses.max(1) as f64,
        recovery_seconds: fault.time.ends().then(|| experience.recovery(time.end).as_secs_f64()),
        most_in_100_ms_after: tallies.iter().map(|tally| tally.most_after).sum(),
        over_limit: tallies.iter().map(|tally| tally.over_limit).sum(),
        account,
        memory_mib: [before.memory, after.memory],
        descriptors: [before.descriptors, after.descriptors, later],
        cpu_seconds: after.cpu - before.cpu,
        more,
    })
}

/// File descriptors once those that the load took are closed, as far as they are within some seconds.
fn settled(running: &mut Running, before: &Usage, after: &Usage) -> usize {
    let (end, mut open) = (Instant::now() + SETTLING, after.descriptors);
    while open > before.descriptors + USUAL_CHANGE && !running.ends(Duration::from_millis(200)) && Instant::now() < end
    {
        open = running.usage().descriptors;
    }
    open
}

fn start_upstreams(fault: &Fault, place: &Place, seed: u64) -> std::io::Result<Vec<Upstream>> {
    let well = Fault { time: fault.time, transport: fault.transport, ..NONE };
    let (first, second) = (place.upstream(), place.second_upstream());
    let places: &[(Fault, IpAddr)] = match fault.upstreams {
        Upstreams::One => &[(*fault, first)],
        Upstreams::TwoBoth => &[(*fault, first), (*fault, second)],
        Upstreams::TwoFirst => &[(*fault, first), (well, second)],
        Upstreams::TwoFirstIpv6 => &[(*fault, place.ipv6_upstream()), (well, first)],
        Upstreams::Itself | Upstreams::ItselfThroughAnother => &[],
    };
    let elsewhere = place.elsewhere();
    places.iter().zip(seed..).map(|(&(fault, ip), seed)| Upstream::start(fault, seed, ip, elsewhere)).collect()
}

/// The figures of each kind of names.
fn of_groups(fault: &Fault, length: Duration, experience: &Experience) -> Vec<OfGroup> {
    let time = fault.time.within(length);
    let has_time = fault.time.thirds().is_some();
    let of = |group: Group| {
        let success = |asked| experience.success(group, &asked);
        let (right, failed) = (experience.times(group, true), experience.times(group, false));
        OfGroup {
            name: group.name().to_owned(),
            asked: experience.asked(group),
            success: success(Duration::ZERO..Duration::MAX),
            success_within: success(time.clone()).filter(|_| has_time),
            success_after: success(time.end..Duration::MAX).filter(|_| has_time),
            p50_us: percentile(&right, 50.0),
            p99_us: percentile(&right, 99.0),
            failed_p50_us: percentile(&failed, 50.0),
        }
    };
    Group::ALL.into_iter().map(of).filter(|of| of.asked > 0).collect()
}

fn percentile(sorted: &[u32], percent: f64) -> Option<u32> {
    (!sorted.is_empty()).then(|| crate::figures::percentile(sorted, percent))
}

/// What is of interest in some rows alone.
fn seen(fault: &Fault, experience: &Experience, tallies: &[Tally]) -> Vec<String> {
    let mut more = Vec::new();
    let sum = |of: fn(&Tally) -> usize| tallies.iter().map(of).sum::<usize>();
    if fault.datagrams == Datagrams::Limited {
        more.push(format!("{} over the limit", sum(|tally| tally.over_limit)));
    }
    if fault.datagrams == Datagrams::FloodOfWrongIds {
        more.push(format!("{} forged", tallies.iter().map(|tally| tally.forged).sum::<u64>()));
    }
    if fault.transport != Transport::Datagrams {
        more.push(format!("{} new connections", sum(|tally| tally.connections)));
    }
    let (explained, unexplained) = (experience.explained, experience.unexplained);
    if explained + unexplained > 0 {
        more.push(format!("{explained} of {} failures explained", explained + unexplained));
    }
    if fault.time.ends() && !matches!(fault.clients, Clients::Readers(_)) {
        more.push(format!("{} queries in 100 ms", sum(|tally| tally.most_after)));
    }
    if experience.late > 0 {
        more.push(format!("{} late replies", experience.late));
    }
    more
}
