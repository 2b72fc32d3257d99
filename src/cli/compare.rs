//! What other resolvers answer, asked by hickory-resolver: a resolver of another make, as applications have one.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::{Name as HickoryName, Record, RecordType};
use hickory_resolver::proto::serialize::binary::BinEncodable;

use crate::explain::{Cause, Compared, Explanation, Verdict};
use crate::forward::AZURE_DNS;
use crate::rdata::present;
use crate::wire::{Name, Rcode, Rtype};

/// Where the machine's own resolvers are listed.
const SYSTEM: &str = "/etc/resolv.conf";
/// How long one resolver may take.
const TIMEOUT: Duration = Duration::from_secs(4);

/// A resolver to compare with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resolver {
    /// `None`: the machine's own, found when it is asked.
    address: Option<SocketAddr>,
    label: &'static str,
}

/// A text that names no resolver.
#[derive(Debug, thiserror::Error)]
#[error("must be an address, an address with a port, `system` or `azure`")]
pub(super) struct NotAResolver;

impl Resolver {
    /// Reads an address, `system` or `azure`.
    pub(super) fn parse(text: &str) -> Result<Self, NotAResolver> {
        match text {
            "system" => return Ok(Self { address: None, label: "system" }),
            "azure" => return Ok(Self { address: Some(AZURE_DNS), label: "azure" }),
            _ => {}
        }
        let address = dns_address(text).map_err(|_| NotAResolver)?;
        Ok(Self { address: Some(address), label: "" })
    }

    fn shown(&self, address: SocketAddr) -> String {
        match self.label {
            "" => address.to_string(),
            label => format!("{label} ({address})"),
        }
    }
}

/// A text that is not the address of a DNS server.
#[derive(Debug, thiserror::Error)]
#[error("must be an IP address, or one with a port: 10.0.0.4, 10.0.0.4:5353, [fd00::4]:53")]
pub(super) struct NotAnAddress;

/// Reads the address of a DNS server; the port is 53 where none is given.
pub(super) fn dns_address(text: &str) -> Result<SocketAddr, NotAnAddress> {
    let address = text.parse::<SocketAddr>().or_else(|_| {
        let bare = text.trim_start_matches('[').trim_end_matches(']');
        bare.parse::<IpAddr>().map(|address| SocketAddr::new(address, 53))
    });
    address.map_err(|_| NotAnAddress)
}

/// Asks each resolver and adds what it answers to the explanation.
pub(super) async fn compare(explanation: &mut Explanation, name: &Name, rtype: Rtype, resolvers: &[Resolver]) {
    let own = essence_of(explanation);
    for resolver in resolvers {
        let Some(address) = resolver.address.or_else(system) else {
            let answer = vec![format!("{SYSTEM} names no resolver")];
            explanation.compare.push(Compared { server: resolver.label.to_owned(), answer, same: false });
            continue;
        };
        let (answer, essence) = ask(address, name, rtype).await;
        let same = essence.is_some() && essence == own;
        if !same && resolver.label == "system" && explanation.verdict == Some(Verdict::Private) {
            // All is well here: what the machine suffers from is that it asks another.
            explanation.cause = Cause::OtherResolver;
            explanation.reason =
                format!("This machine asks {address}, which answers otherwise: {}", lower_first(&explanation.reason));
            explanation.fix = Some(
                "Name this server in the DNS servers of the virtual network, and restart the machine or renew its lease."
                    .to_owned(),
            );
        }
        explanation.compare.push(Compared { server: resolver.shown(address), answer, same });
    }
}

fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

/// The data of the type asked for, sorted; the response code where there are none. `None` where there is no response.
type Essence = Option<Vec<String>>;

fn essence_of(explanation: &Explanation) -> Essence {
    let reply = explanation.reply.as_ref()?;
    let data = reply.answer.iter().filter(|record| record.rtype == explanation.rtype);
    essence(data.map(|record| record.data.clone()).collect(), &reply.rcode)
}

fn essence(mut data: Vec<String>, rcode: &str) -> Essence {
    if data.is_empty() {
        return Some(vec![rcode.to_owned()]);
    }
    data.sort_unstable();
    data.dedup();
    Some(data)
}

async fn ask(address: SocketAddr, name: &Name, rtype: Rtype) -> (Vec<String>, Essence) {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    let server = NameServerConfig::new(address.ip(), true, connections.to_vec());
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
    let mut builder = hickory_resolver::Resolver::builder_with_config(config, TokioRuntimeProvider::default());
    let options = builder.options_mut();
    options.attempts = 1;
    options.timeout = TIMEOUT;
    options.cache_size = 0;
    options.edns0 = true;
    options.use_hosts_file = ResolveHosts::Never;
    options.preserve_intermediates = true;
    let Ok(name) = HickoryName::from_ascii(format!("{}.", name.to_string().trim_end_matches('.'))) else {
        return (vec!["the name cannot be asked for".to_owned()], None);
    };
    let looked_up = match builder.build() {
        Ok(resolver) => resolver.lookup(name, RecordType::from(rtype.0)).await,
        Err(error) => Err(error),
    };
    match looked_up {
        Ok(lookup) => {
            let records: Vec<_> = lookup.answers().iter().map(parts).collect();
            let data = records.iter().filter(|(found, ..)| *found == rtype).map(|(_, data, _)| data.clone()).collect();
            (records.into_iter().map(|(_, _, line)| line).collect(), essence(data, "NOERROR"))
        }
        Err(NetError::Dns(DnsError::NoRecordsFound(found))) => {
            let rcode = Rcode(u16::from(found.response_code)).to_string();
            let shown = if rcode == "NOERROR" { "NOERROR, no data".to_owned() } else { rcode.clone() };
            (vec![shown], essence(Vec::new(), &rcode))
        }
        Err(NetError::Dns(DnsError::ResponseCode(code))) => {
            let rcode = Rcode(u16::from(code)).to_string();
            (vec![rcode.clone()], essence(Vec::new(), &rcode))
        }
        Err(NetError::Timeout) => (vec!["timeout".to_owned()], None),
        Err(error) => (vec![error.to_string()], None),
    }
}

/// Type, data and the whole line of a record.
fn parts(record: &Record) -> (Rtype, String, String) {
    let rtype = Rtype(u16::from(record.record_type()));
    let data = record.data.to_bytes().map_or_else(|_| record.data.to_string(), |bytes| present(rtype, &bytes));
    let line = format!("{} {} IN {rtype} {data}", record.name, record.ttl);
    (rtype, data, line)
}

/// The first of the machine's own resolvers.
#[expect(clippy::disallowed_methods, reason = "the machine's resolvers are listed in a file")]
fn system() -> Option<SocketAddr> {
    first_name_server(&std::fs::read_to_string(SYSTEM).ok()?)
}

fn first_name_server(text: &str) -> Option<SocketAddr> {
    text.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        words.next().filter(|word| *word == "nameserver")?;
        let address: IpAddr = words.next()?.parse().ok()?;
        Some(SocketAddr::new(address, 53))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_are_addresses_or_words() {
        for (text, expected) in [
            ("10.0.0.4", Some("10.0.0.4:53")),
            ("10.0.0.4:5353", Some("10.0.0.4:5353")),
            ("::1", Some("[::1]:53")),
            ("[::1]:99", Some("[::1]:99")),
            ("azure", Some("168.63.129.16:53")),
            ("system", None),
        ] {
            let address = Resolver::parse(text).unwrap().address;
            assert_eq!(address.map(|address| address.to_string()).as_deref(), expected, "{text}");
        }
        for text in ["", "dns.example", "10.0.0.4:x"] {
            assert!(Resolver::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_first_name_server_of_the_machine() {
        let text = "# nameserver 1.1.1.1\nsearch corp.example\nnameserver 127.0.0.53\nnameserver 10.0.0.4\n";
        assert_eq!(first_name_server(text), Some("127.0.0.53:53".parse().unwrap()));
        assert_eq!(first_name_server("options edns0\n"), None);
    }
}
