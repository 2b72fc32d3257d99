//! The faults.

use crate::fault::{Act, Clients, Datagrams, Fault, Sink, Streams, Time, Transport, Upstreams};

/// No fault.
pub(crate) const NONE: Fault = Fault {
    id: "none",
    name: "no fault",
    time: Time::Always,
    upstreams: Upstreams::One,
    transport: Transport::Datagrams,
    datagrams: Datagrams::Well,
    streams: Streams::Well,
    clients: Clients::Usual,
    act: Act::Nothing,
    usual: 2,
};

const fn named(id: &'static str, name: &'static str) -> Fault {
    Fault { id, name, ..NONE }
}

const fn datagrams(id: &'static str, name: &'static str, datagrams: Datagrams) -> Fault {
    Fault { datagrams, ..named(id, name) }
}

/// The second third.
const fn passing(id: &'static str, name: &'static str, datagrams: Datagrams) -> Fault {
    Fault { datagrams, time: Time::Middle, ..named(id, name) }
}

const fn truncated(id: &'static str, name: &'static str, share: f64, streams: Streams) -> Fault {
    Fault { datagrams: Datagrams::Truncated(share), streams, ..named(id, name) }
}

const fn tls(id: &'static str, name: &'static str, streams: Streams) -> Fault {
    Fault { transport: Transport::Tls, streams, ..named(id, name) }
}

const fn clients(id: &'static str, name: &'static str, clients: Clients) -> Fault {
    Fault { clients, time: Time::Middle, ..named(id, name) }
}

const fn act(id: &'static str, name: &'static str, act: Act) -> Fault {
    Fault { act, time: Time::Middle, ..named(id, name) }
}

const fn log(id: &'static str, name: &'static str, sink: Sink, every: bool) -> Fault {
    Fault { act: Act::Log(sink, every), ..named(id, name) }
}

const fn ip(
    id: &'static str,
    name: &'static str,
    begin: &'static [&'static str],
    end: &'static [&'static str],
) -> Fault {
    act(id, name, Act::Ip(begin, end))
}

const BOTH: Upstreams = Upstreams::TwoBoth;
/// Just before the next query where there are few.
const IDLE: Streams = Streams::ClosesIdle(195);
const FIRST: Upstreams = Upstreams::TwoFirst;

/// Every fault, in the order of the table.
pub(crate) const FAULTS: &[Fault] = &[
    NONE,
    datagrams("loss-1", "loss 1 % each way", Datagrams::Lost(0.01)),
    datagrams("loss-10", "loss 10 %", Datagrams::Lost(0.10)),
    datagrams("loss-30", "loss 30 %", Datagrams::Lost(0.30)),
    Fault { upstreams: BOTH, ..datagrams("two-loss-10", "loss 10 %, two upstreams", Datagrams::Lost(0.10)) },
    Fault { upstreams: BOTH, ..datagrams("two-loss-30", "loss 30 %, two upstreams", Datagrams::Lost(0.30)) },
    datagrams("third", "answers every third", Datagrams::EveryThird),
    Fault {
        upstreams: FIRST,
        ..datagrams("first-third", "the first of two answers every third", Datagrams::EveryThird)
    },
    datagrams("twice", "every answer twice", Datagrams::Twice),
    datagrams("late", "20 % late by 50 ms", Datagrams::Late { share: 0.2, least: 50, most: 50 }),
    datagrams("reordered", "reordered: later by 0 to 20 ms", Datagrams::Late { share: 1.0, least: 0, most: 20 }),
    datagrams("jitter", "200 to 400 ms", Datagrams::Late { share: 1.0, least: 198, most: 398 }),
    datagrams("fragment-lost", "two fragments, the second lost", Datagrams::FragmentLost),
    datagrams("fragments", "two fragments, the second first", Datagrams::FragmentsReversed),
    passing("silence", "silent for a third, and back", Datagrams::Silent),
    passing("unreachable", "port unreachable for a third, and back", Datagrams::Closed),
    Fault {
        upstreams: FIRST,
        time: Time::FromThird,
        ..datagrams("first-dies", "the first of two dies", Datagrams::Silent)
    },
    Fault {
        upstreams: FIRST,
        time: Time::FromThird,
        ..datagrams("first-unreachable", "the first of two dies, port unreachable", Datagrams::Closed)
    },
    Fault {
        upstreams: Upstreams::TwoFirstIpv6,
        ..datagrams("ipv6-silent", "the first of two is on IPv6 and silent", Datagrams::Silent)
    },
    Fault {
        upstreams: Upstreams::TwoFirstIpv6,
        ..ip(
            "ipv6-blackhole",
            "the first of two is on IPv6: blackhole route for a third",
            &["route add blackhole fd00:53::2/128"],
            &["route del blackhole fd00:53::2/128"],
        )
    },
    ip("interface", "interface down for a third", &["link set upstream down"], &["link set upstream up"]),
    ip(
        "blackhole",
        "blackhole route for a third",
        &["route add blackhole 10.53.0.2/32"],
        &["route del blackhole 10.53.0.2/32"],
    ),
    Fault {
        time: Time::FromThird,
        ..ip(
            "address",
            "the server's address changes",
            &["addr del 10.53.0.1/24 dev upstream", "addr add 10.53.0.7/24 dev upstream"],
            &[],
        )
    },
    Fault { clients: Clients::Slow(30), ..named("slow", "30 names a second take 4 s") },
    Fault {
        clients: Clients::Slow(60),
        ..datagrams("slow-limited", "60 names a second take 4 s; Azure's limits", Datagrams::Limited)
    },
    Fault {
        clients: Clients::Bursts(400),
        ..datagrams("burst", "1,000 a second, 200 pending; 400 at once each second", Datagrams::Limited)
    },
    Fault { clients: Clients::Bursts(600), ..datagrams("burst-600", "the same; 600 at once", Datagrams::Limited) },
    Fault {
        clients: Clients::Bursts(900),
        ..datagrams("burst-900", "the same; 900 at once, more than it takes", Datagrams::Limited)
    },
    passing("servfail", "SERVFAIL for a third, and back", Datagrams::Code(2)),
    passing("refused", "REFUSED for a third, and back", Datagrams::Code(5)),
    Fault {
        upstreams: FIRST,
        ..passing("first-servfail", "SERVFAIL of the first of two for a third", Datagrams::Code(2))
    },
    Fault {
        upstreams: FIRST,
        ..passing("first-refused", "REFUSED of the first of two for a third", Datagrams::Code(5))
    },
    passing("nxdomain", "NXDOMAIN for a third, and back", Datagrams::Code(3)),
    datagrams("wrong-ids", "20 wrong IDs before each answer", Datagrams::WrongIds),
    Fault {
        usual: 20,
        ..datagrams("wrong-flood", "50,000 wrong IDs a second to the open port", Datagrams::FloodOfWrongIds)
    },
    Fault {
        usual: 20,
        ..datagrams("wrong-places", "wrong ID, question, case, port or address, then right", Datagrams::WrongPlaces)
    },
    datagrams("case", "letter case changed", Datagrams::WrongCase),
    datagrams("malformed", "50 malformed forms, then right", Datagrams::Damaged),
    datagrams("cut", "cut in the middle without TC", Datagrams::CutShort),
    truncated("truncated", "truncated", 1.0, Streams::Well),
    truncated("tcp-cut", "truncated; TCP cut at 30 %", 1.0, Streams::Cut(0.3)),
    truncated("tcp-bytes", "truncated; TCP byte by byte", 1.0, Streams::Bytes),
    Fault {
        clients: Clients::Few,
        ..truncated("tcp-idle", "truncated; TCP closed after 195 ms idle, a query every 200", 1.0, IDLE)
    },
    truncated("tcp-refused", "truncated at 10 %; TCP refused", 0.1, Streams::Refused),
    truncated("tcp-swallowed", "truncated at 10 %; TCP swallowed", 0.1, Streams::Swallowed),
    datagrams("no-edns", "FORMERR on OPT", Datagrams::NoEdns),
    datagrams("opt-swallowed", "queries with OPT swallowed", Datagrams::OptSwallowed),
    datagrams("option-swallowed", "queries with options swallowed", Datagrams::OptionSwallowed),
    tls("tls", "TLS upstream, well", Streams::Well),
    Fault {
        transport: Transport::TlsExpired,
        ..passing("tls-expired", "TLS upstream's certificate expired for a third", Datagrams::Well)
    },
    Fault { transport: Transport::Tls, ..passing("tls-stalls", "TLS upstream stalls for a third", Datagrams::Silent) },
    Fault {
        clients: Clients::Few,
        ..tls("tls-idle", "TLS upstream closes after 195 ms idle, a query every 200", IDLE)
    },
    tls("tls-closes", "TLS upstream closes at every 20th query, unanswered", Streams::ClosesAt(20)),
    clients("readers", "400 TCP clients ask 100 answers of 48 KB each, unread, for a third", Clients::Readers(400)),
    clients("flood", "5,000 unique names a second of another client for a third", Clients::Flood(5000)),
    clients("flood-40k", "40,000 unique names a second of another client for a third", Clients::Flood(40_000)),
    Fault {
        act: Act::Memory(160),
        ..clients("memory", "160 MiB of memory; 5,000 unique names a second for a third", Clients::Flood(5000))
    },
    act("descriptors-4", "4 file descriptors left for a third", Act::Descriptors(4)),
    act("descriptors-0", "no file descriptor left for a third", Act::Descriptors(-1)),
    log("log-unread", "log pipe not read, every query logged", Sink::Unread, true),
    log("log-full", "log on a full disk, every query logged", Sink::Full, true),
    log("log-gone", "log pipe's reader gone, every query logged", Sink::ReaderGone, true),
    Fault {
        clients: Clients::Few,
        ..log("log-gone-idle", "log pipe's reader gone, few queries", Sink::ReaderGone, false)
    },
    act("stopped", "the server is stopped (SIGSTOP) for a third", Act::Stop),
    Fault { time: Time::FromThird, ..act("killed", "kill -9 and started again", Act::Kill) },
    act("restarts", "restarts for a third", Act::Restarts),
    act("reloads", "reloads of 20,000 records, twice a second, for a third", Act::Reloads(20_000)),
    Fault { upstreams: Upstreams::Itself, clients: Clients::Few, ..named("loop", "the upstream is the server itself") },
    Fault {
        upstreams: Upstreams::ItselfThroughAnother,
        clients: Clients::Few,
        ..named("loop-two", "the upstream forwards to the server")
    },
];

/// The faults whose ids these are, or begin with these; all where there is none.
pub(crate) fn chosen(ids: &[String]) -> Result<Vec<&'static Fault>, String> {
    let is = |fault: &Fault, id: &str| {
        let is_exact = FAULTS.iter().any(|other| other.id == id);
        if is_exact { fault.id == id } else { fault.id.starts_with(id) }
    };
    if let Some(id) = ids.iter().find(|id| !FAULTS.iter().any(|fault| is(fault, id))) {
        return Err(format!("no fault is called {id}; --list shows them"));
    }
    Ok(FAULTS.iter().filter(|fault| ids.is_empty() || ids.iter().any(|id| is(fault, id))).collect())
}
