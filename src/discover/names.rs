//! Names of Azure's services, resolved straight at the upstreams of their rule: this server may be the machine's own
//! resolver, and must not need itself to start.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::Resolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use tokio::task::LocalSet;
use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver as Resolve};
use ureq::unversioned::transport::NextTimeout;

use crate::client::{ask_rule, query};
use crate::config::Settings;
use crate::forward::{AZURE_DNS, ForwardRule, Protocol, Target};
use crate::upstream::Trust;
use crate::wire::{Message, Name, Rcode, Rtype, Section};

/// How long one query may take; there are two attempts.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Upstreams by zone, the longest zone first.
#[derive(Clone)]
pub(super) struct Names {
    rules: Vec<(Name, Upstreams)>,
    /// Whose certificates upstreams over TLS and HTTPS may show.
    trust: Arc<Trust>,
}

/// Whom a rule's names are asked of.
#[derive(Debug, Clone)]
enum Upstreams {
    /// Over UDP, and TCP where an answer does not fit: those of the rule that are asked so.
    Plain(Vec<SocketAddr>),
    /// Over TLS or HTTPS: a rule that has no others.
    Encrypted(Arc<ForwardRule>),
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").field("rules", &self.rules).finish_non_exhaustive()
    }
}

impl Names {
    /// The rules of these settings.
    pub(super) fn of(settings: &Settings, trust: Arc<Trust>) -> Self {
        let is_plain = |target: &&Target| matches!(target.protocol, Protocol::Datagram | Protocol::Tcp);
        let upstreams = |zone: &Name, all: &[Target]| {
            let plain: Vec<SocketAddr> = all.iter().filter(is_plain).map(|target| target.address).collect();
            if !plain.is_empty() || all.is_empty() {
                return Upstreams::Plain(plain);
            }
            Upstreams::Encrypted(Arc::new(ForwardRule {
                zone: zone.clone(),
                upstreams: all.into(),
                max_ttl: None,
                max_negative_ttl: None,
                upstream_set: 0,
            }))
        };
        let of = |zone: &Name, all: &[Target]| (zone.clone(), upstreams(zone, all));
        let mut rules: Vec<_> = settings.forwards.iter().map(|rule| of(&rule.zone, &rule.upstreams)).collect();
        rules.sort_by_key(|(zone, _)| std::cmp::Reverse(zone.as_wire().len()));
        Self { rules, trust }
    }

    /// The upstreams responsible for a host.
    fn upstreams(&self, host: &str) -> Upstreams {
        let name = Name::parse(host).map(|name| name.to_lowercase()).ok();
        let rule = name.and_then(|name| self.rules.iter().find(|(zone, _)| name.is_within(zone)));
        match rule {
            Some((_, Upstreams::Plain(upstreams))) if upstreams.is_empty() => Upstreams::Plain(vec![AZURE_DNS]),
            Some((_, upstreams)) => upstreams.clone(),
            None => Upstreams::Plain(vec![AZURE_DNS]),
        }
    }

    fn look_up(&self, host: &str) -> Result<Vec<IpAddr>, Error> {
        match self.upstreams(host) {
            Upstreams::Plain(servers) => look_up_plain(host, &servers),
            Upstreams::Encrypted(rule) => self.look_up_encrypted(host, &rule),
        }
    }

    /// With the server's own client of encrypted upstreams, over a connection that ends with the answer.
    fn look_up_encrypted(&self, host: &str, rule: &ForwardRule) -> Result<Vec<IpAddr>, Error> {
        let name = Name::parse(host).map_err(|_| Error::HostNotFound)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Io)?;
        let queries = [Rtype::A, Rtype::AAAA].map(|rtype| query(&name, rtype));
        let [v4, v6] = queries.each_ref().map(|query| ask_rule(rule, query, &self.trust));
        let both = LocalSet::new().block_on(&runtime, async { <[_; 2]>::from(tokio::join!(v4, v6)) });
        let found: Vec<IpAddr> =
            both.iter().filter_map(|(_, message)| message.as_deref()).flat_map(addresses).collect();
        let is_answered = both.iter().any(|(_, message)| message.is_some());
        let failed = both.iter().flat_map(|(tries, _)| tries).find_map(|tried| Some((tried, tried.error.as_ref()?)));
        match failed {
            Some((tried, error)) if !is_answered => {
                Err(Error::Io(std::io::Error::other(format!("{host} cannot be asked of {}: {error}", tried.upstream))))
            }
            _ if found.is_empty() => Err(Error::HostNotFound),
            _ => Ok(found),
        }
    }
}

/// The addresses of an answer.
fn addresses(message: &[u8]) -> Vec<IpAddr> {
    let Some(message) = Message::parse(message).filter(|message| message.header.rcode() == Rcode::NOERROR) else {
        return Vec::new();
    };
    let of = |record: &crate::wire::message::RecordView| {
        let data = message.expanded_data(record)?;
        match record.rtype {
            Rtype::A => Some(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?).into()),
            Rtype::AAAA => Some(Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?).into()),
            _ => None,
        }
    };
    message.section(Section::Answer).filter_map(of).collect()
}

fn look_up_plain(host: &str, servers: &[SocketAddr]) -> Result<Vec<IpAddr>, Error> {
    let servers = servers.iter().map(|address| {
        let mut connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
        connections.iter_mut().for_each(|connection| connection.port = address.port());
        NameServerConfig::new(address.ip(), true, connections.to_vec())
    });
    let mut options = ResolverOpts::default();
    options.timeout = TIMEOUT;
    options.attempts = 2;
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Io)?;
    let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
    let resolver = Resolver::builder_with_config(config, TokioRuntimeProvider::default())
        .with_options(options)
        .build()
        .map_err(|_| Error::HostNotFound)?;
    // A dot at the end: no search list.
    let name = format!("{}.", host.trim_end_matches('.'));
    let found = runtime.block_on(resolver.lookup_ip(name)).map_err(|_| Error::HostNotFound)?;
    Ok(found.iter().collect())
}

impl Resolve for Names {
    fn resolve(&self, uri: &Uri, config: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let host = uri.host().ok_or(Error::HostNotFound)?;
        let default = if uri.scheme_str() == Some("http") { 80 } else { 443 };
        let port = uri.port_u16().unwrap_or(default);
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        let addresses = match literal {
            Ok(address) => vec![address],
            Err(_) => self.look_up(host)?,
        };
        let mut result = self.empty();
        let addresses = addresses.into_iter().map(|address| SocketAddr::new(address, port));
        for address in config.ip_family().keep_wanted(addresses).take(16) {
            result.push(address);
        }
        if result.is_empty() { Err(Error::HostNotFound) } else { Ok(result) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, read_settings};
    use crate::document::{Problems, SourceText};
    use crate::upstream::Authorities;

    #[test]
    fn a_host_is_asked_of_the_upstreams_of_its_rule() {
        let text = r#"
            [[forward]]
            zone = "azure.com"
            upstreams = ["10.0.0.4:5353", "tls://10.0.0.5#dns.example"]
            [[forward]]
            zone = "login.microsoftonline.com"
            upstreams = ["tls://10.0.0.5#dns.example"]
            [[forward]]
            zone = "."
            upstreams = ["10.0.0.6"]
        "#;
        let environment = Environment { public_zones: &[], is_local: &|_| false };
        let mut problems = Problems::default();
        let settings = read_settings(&SourceText::new("pldns.toml", text), &environment, &mut problems);
        let names = Names::of(&settings, Arc::new(Trust::new(&Authorities::default())));
        let asked = |host| match names.upstreams(host) {
            Upstreams::Plain(servers) => servers.iter().map(ToString::to_string).collect::<Vec<_>>(),
            Upstreams::Encrypted(rule) => rule.upstreams.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(asked("management.azure.com"), ["10.0.0.4:5353"]);
        assert_eq!(asked("Management.AZURE.com"), ["10.0.0.4:5353"]);
        assert_eq!(asked("login.microsoftonline.com"), ["tls://10.0.0.5:853#dns.example"], "no plain upstream");
        assert_eq!(asked("management.chinacloudapi.cn"), ["10.0.0.6:53"]);
    }
}
