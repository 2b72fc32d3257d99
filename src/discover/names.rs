//! Names of Azure's services, resolved straight at the upstreams of their rule: this server may be the machine's own
//! resolver, and must not need itself to start.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::Resolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver as Resolve};
use ureq::unversioned::transport::NextTimeout;

use crate::config::Settings;
use crate::forward::{AZURE_DNS, Protocol};
use crate::wire::Name;

/// How long one query may take; there are two attempts.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Plain upstreams by zone, the longest zone first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names {
    rules: Vec<(Name, Vec<SocketAddr>)>,
}

impl Names {
    /// The rules of these settings. An upstream over TLS or HTTPS is not asked here: such a rule's names go to Azure DNS.
    pub(super) fn of(settings: &Settings) -> Self {
        let mut rules: Vec<_> = settings
            .forwards
            .iter()
            .map(|rule| {
                let plain = rule
                    .upstreams
                    .iter()
                    .filter(|target| matches!(target.protocol, Protocol::Datagram | Protocol::Tcp));
                (rule.zone.clone(), plain.map(|target| target.address).collect::<Vec<_>>())
            })
            .collect();
        rules.sort_by_key(|(zone, _)| std::cmp::Reverse(zone.as_wire().len()));
        Self { rules }
    }

    /// The upstreams responsible for a host.
    fn upstreams(&self, host: &str) -> Vec<SocketAddr> {
        let name = Name::parse(host).map(|name| name.to_lowercase()).ok();
        let rule = name.and_then(|name| self.rules.iter().find(|(zone, _)| name.is_within(zone)));
        match rule {
            Some((_, upstreams)) if !upstreams.is_empty() => upstreams.clone(),
            _ => vec![AZURE_DNS],
        }
    }

    fn look_up(&self, host: &str) -> Result<Vec<IpAddr>, Error> {
        let servers = self.upstreams(host).into_iter().map(|address| {
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
    use crate::config::{Facts, read_settings};
    use crate::document::{Problems, SourceText};

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
        let facts = Facts { public_zones: &[], is_local: &|_| false };
        let mut problems = Problems::default();
        let settings = read_settings(&SourceText::new("pldns.toml", text), &facts, &mut problems);
        let names = Names::of(&settings);
        let asked = |host| names.upstreams(host).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(asked("management.azure.com"), ["10.0.0.4:5353"]);
        assert_eq!(asked("Management.AZURE.com"), ["10.0.0.4:5353"]);
        assert_eq!(asked("login.microsoftonline.com"), ["168.63.129.16:53"], "no plain upstream");
        assert_eq!(asked("management.chinacloudapi.cn"), ["10.0.0.6:53"]);
    }
}
