//! `[azure]` and `[azure.discover]`: public answers behind private endpoints, and records from Azure Resource Manager.

use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use super::upstream::read_upstream;
use super::values::read_name;
use crate::document::{Document, Placed, TableReader, parse_duration, parse_size};
use crate::forward::{AZURE_DNS, Target};
use crate::wire::Name;

/// What a round of discovery may hold unless the settings say otherwise, bytes.
const DISCOVER_MEMORY: u64 = 64 << 20;
/// The least that it may be.
const DISCOVER_MEMORY_MIN: u64 = 1 << 20;
/// The longest id of a management group.
const MANAGEMENT_GROUP_MAX: usize = 90;

/// `[azure]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AzureSettings {
    /// What to do with a public address in the answer for a name that has a private endpoint record here.
    pub public_answers: PublicAnswers,
    /// Names that may have public addresses; each covers all names below it as well.
    pub public_except: Vec<Name>,
    /// Upstreams that are queried where Azure DNS says NXDOMAIN behind a privatelink CNAME; empty turns it off.
    pub public_fallback: Vec<Target>,
    /// `[azure.discover]`
    pub discover: DiscoverSettings,
}

/// `[azure] public_answers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PublicAnswers {
    /// Public addresses pass unnoticed.
    Allow,
    /// They pass, and are logged and counted.
    #[default]
    Warn,
    /// The answer is SERVFAIL.
    Refuse,
}

/// `[azure.discover]`. Ids and resource ids are in lower case: Azure compares them without regard to case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiscoverSettings {
    /// Subscription ids.
    pub subscriptions: Vec<String>,
    /// Ids of management groups; their subscriptions are read.
    pub management_groups: Vec<String>,
    /// Resource ids of the virtual networks whose endpoints are taken; empty: all.
    pub networks: Vec<String>,
    /// The cloud.
    pub cloud: DiscoverCloud,
    /// Where tokens come from.
    pub identity: Identity,
    /// The client id of a user-assigned identity; `None`: the machine's own.
    pub client_id: Option<String>,
    /// Time from one round to the next; never zero.
    pub interval: Duration,
    /// How long a record stays whose endpoint is gone; never zero.
    pub grace: Duration,
    /// Whether two endpoints of one service become views: the clients of each network get their own.
    pub views: bool,
    /// What a round may hold of what Azure lists, and of what follows from it, bytes.
    pub max_memory: u64,
    /// The file that keeps the last good result, relative to the settings file; `None`: it is not kept.
    pub state: Option<String>,
    /// Base URL of Azure Resource Manager without a slash at its end; `None`: the cloud's own.
    pub resource_manager: Option<String>,
    /// Base URL of the instance metadata service without a slash at its end; `None`: `http://169.254.169.254`.
    pub metadata_service: Option<String>,
}

/// `[azure.discover] cloud`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DiscoverCloud {
    /// Azure.
    #[default]
    Public,
    /// Azure operated by 21Vianet.
    China,
    /// Azure Government.
    UsGov,
}

/// `[azure.discover] identity`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Identity {
    /// A managed identity, by the instance metadata service.
    #[default]
    Managed,
    /// A federated token, as workload identity in AKS gives.
    Workload,
    /// What `az account get-access-token` prints.
    Cli,
}

impl DiscoverSettings {
    /// Whether anything is to be discovered.
    pub fn is_on(&self) -> bool {
        !self.subscriptions.is_empty() || !self.management_groups.is_empty()
    }
}

impl Default for DiscoverSettings {
    fn default() -> Self {
        Self {
            subscriptions: Vec::new(),
            management_groups: Vec::new(),
            networks: Vec::new(),
            cloud: DiscoverCloud::default(),
            identity: Identity::default(),
            client_id: None,
            interval: Duration::from_secs(60),
            grace: Duration::from_secs(600),
            views: true,
            max_memory: DISCOVER_MEMORY,
            state: Some("/var/lib/pldns/discovered.toml".to_owned()),
            resource_manager: None,
            metadata_service: None,
        }
    }
}

/// Reads `[azure]` with `[azure.discover]` in it.
pub(super) fn read_azure(document: &Document<'_>, section: &TableReader<'_>) -> AzureSettings {
    let mut azure = AzureSettings::default();
    let answers = [("allow", PublicAnswers::Allow), ("warn", PublicAnswers::Warn), ("refuse", PublicAnswers::Refuse)];
    if let Some(word) = section.word("public_answers", &answers) {
        azure.public_answers = word;
    }
    let names = section.texts("public_except").unwrap_or_default();
    azure.public_except = names.iter().filter_map(|text| read_name(document, "public_except", text)).collect();
    let mut targets: Vec<Target> = Vec::new();
    for text in section.texts("public_fallback").unwrap_or_default() {
        let Some(target) = read_upstream(document, &text) else { continue };
        if target.address == AZURE_DNS {
            document.warning(
                text.span,
                "Azure DNS would give the answer that it gave before",
                "name a resolver that does not see the private DNS zones",
            );
        }
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    azure.public_fallback = targets;
    if let Some(table) = section.table("discover") {
        let reader = document.reader(table, "[azure.discover]");
        azure.discover = read_discover(document, &reader);
        reader.finish();
        let networks = !azure.discover.networks.is_empty() || azure.discover.client_id.is_some();
        if networks && !azure.discover.is_on() {
            document.warning(
                section.key_span("discover").unwrap_or(0..0),
                "discovery is off: neither `subscriptions` nor `management_groups` names anything",
                "subscriptions = [\"00000000-0000-0000-0000-000000000000\"]",
            );
        }
    }
    azure
}

fn read_discover(document: &Document<'_>, section: &TableReader<'_>) -> DiscoverSettings {
    let mut discover = DiscoverSettings::default();
    let guid = "a subscription id such as \"00000000-0000-0000-0000-000000000000\"; `az account list` prints them";
    discover.subscriptions = read_ids(document, section, "subscriptions", is_guid, ("a subscription id", guid));
    discover.management_groups = read_ids(
        document,
        section,
        "management_groups",
        is_management_group,
        ("a management group id", "its id, not its display name: `az account management-group list` prints both"),
    );
    let network = "/subscriptions/ID/resourceGroups/GROUP/providers/Microsoft.Network/virtualNetworks/NAME";
    discover.networks =
        read_ids(document, section, "networks", is_network, ("the resource id of a virtual network", network));
    let clouds = [("public", DiscoverCloud::Public), ("china", DiscoverCloud::China), ("usgov", DiscoverCloud::UsGov)];
    if let Some(cloud) = section.word("cloud", &clouds) {
        discover.cloud = cloud;
    }
    let identities = [("managed", Identity::Managed), ("workload", Identity::Workload), ("cli", Identity::Cli)];
    if let Some(identity) = section.word("identity", &identities) {
        discover.identity = identity;
    }
    if let Some(text) = section.text("client_id").filter(|text| !text.value.is_empty()) {
        let hint = "the client ID of a user-assigned identity, such as \"00000000-0000-0000-0000-000000000000\"";
        discover.client_id = read_id(document, "client_id", &text, is_guid, ("a client ID", hint));
        if discover.identity == Identity::Cli {
            document.warning(text.span, "`client_id` has no effect with identity = \"cli\"", "leave it out");
        }
    }
    for (key, place) in [("interval", &mut discover.interval), ("grace", &mut discover.grace)] {
        let Some(duration) = section.parsed(key, "a duration", parse_duration) else { continue };
        if duration.value.is_zero() {
            document.error(duration.span, format!("`{key}` must be longer than 0s"), format!("{key} = \"60s\""));
        } else {
            *place = duration.value;
        }
    }
    if let Some(views) = section.flag("views") {
        discover.views = views;
    }
    if let Some(size) = section.parsed("max_memory", "a size", parse_size) {
        if size.value < DISCOVER_MEMORY_MIN {
            document.error(size.span, "`max_memory` must be at least 1MiB", "max_memory = \"64MiB\"");
        } else {
            discover.max_memory = size.value;
        }
    }
    if let Some(file) = section.text("state") {
        discover.state = Some(file.value.to_owned()).filter(|file| !file.is_empty());
    }
    discover.resource_manager = read_url(document, section, "resource_manager", "https://management.azure.com");
    discover.metadata_service = read_url(document, section, "metadata_service", METADATA_SERVICE);
    discover
}

/// The instance metadata service, which has no HTTPS: the one address beside loopback that plain HTTP may go to.
const METADATA_SERVICE: &str = "http://169.254.169.254";

/// What an id should have been, and what to write.
type Expected = (&'static str, &'static str);

fn read_ids(
    document: &Document<'_>,
    section: &TableReader<'_>,
    key: &'static str,
    is_valid: fn(&str) -> bool,
    expected: Expected,
) -> Vec<String> {
    let mut ids = Vec::new();
    for text in section.texts(key).unwrap_or_default() {
        let Some(id) = read_id(document, key, &text, is_valid, expected) else { continue };
        if ids.contains(&id) {
            document.warning(text.span, format!("\"{id}\" is in `{key}` twice"), "remove one of the two");
        } else {
            ids.push(id);
        }
    }
    ids
}

fn read_id(
    document: &Document<'_>,
    key: &str,
    text: &Placed<&str>,
    is_valid: fn(&str) -> bool,
    (expected, hint): Expected,
) -> Option<String> {
    if is_valid(text.value) {
        return Some(text.value.trim_end_matches('/').to_ascii_lowercase());
    }
    let message = format!("\"{}\" in `{key}` is not {expected}", text.value.escape_debug());
    document.error(text.span.clone(), message, hint);
    None
}

fn is_guid(text: &str) -> bool {
    let lens = text.split('-').map(str::len);
    lens.eq([8, 4, 4, 4, 12]) && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

/// Letters, digits, `-`, `_`, `(`, `)` and `.`, and no `.` at the end.
fn is_management_group(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_().".contains(&byte);
    (1..=MANAGEMENT_GROUP_MAX).contains(&text.len()) && text.bytes().all(is_allowed) && !text.ends_with('.')
}

fn is_network(text: &str) -> bool {
    let text = text.trim_end_matches('/').to_ascii_lowercase();
    let Some(rest) = text.strip_prefix("/subscriptions/") else { return false };
    let parts: Vec<&str> = rest.split('/').collect();
    let [subscription, "resourcegroups", group, "providers", "microsoft.network", "virtualnetworks", name] = parts[..]
    else {
        return false;
    };
    is_guid(subscription) && !group.is_empty() && !name.is_empty()
}

fn read_url(document: &Document<'_>, section: &TableReader<'_>, key: &'static str, example: &str) -> Option<String> {
    let text = section.text(key).filter(|text| !text.value.is_empty())?;
    let url = text.value.trim_end_matches('/');
    match split_url(url) {
        Some(("https", _)) => Some(url.to_owned()),
        Some((_, host)) if host.parse().is_ok_and(|host: IpAddr| host.is_loopback()) => Some(url.to_owned()),
        _ if url == METADATA_SERVICE && key == "metadata_service" => Some(url.to_owned()),
        found => {
            refuse_url(document, key, text.value, text.span, found.is_some(), example);
            None
        }
    }
}

fn refuse_url(document: &Document<'_>, key: &str, url: &str, span: Range<usize>, is_http: bool, example: &str) {
    let url = url.escape_debug();
    let message = if is_http {
        format!("\"{url}\" in `{key}`: http:// is accepted for loopback addresses only, since tokens pass")
    } else {
        format!("\"{url}\" in `{key}` is not a valid URL of a server")
    };
    document.error(span, message, format!("{key} = \"{example}\""));
}

/// Scheme and host (an IPv6 address without its brackets) of `https://HOST[:PORT][/PATH]` or the same with `http`.
fn split_url(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, port)
        }
        None => {
            let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            (!host.is_empty() && host.bytes().all(is_host)).then_some((host, port))?
        }
    };
    let is_port =
        port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse().is_ok_and(|port: u16| port > 0));
    let is_path = path.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#\\".contains(&byte));
    (is_port && is_path && matches!(scheme, "http" | "https")).then_some((scheme, host))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, read_settings};
    use crate::document::{Problems, SourceText};

    const ID: &str = "11111111-2222-3333-4444-55555555aAbB";

    fn read(text: &str) -> (AzureSettings, String) {
        let source = SourceText::new("pldns.toml", text);
        let mut problems = Problems::default();
        let environment = Environment { public_zones: &[], is_local: &|_| false };
        let settings = read_settings(&source, &environment, &mut problems);
        (settings.azure, problems.to_string())
    }

    #[test]
    fn without_subscriptions_discovery_is_off() {
        let (azure, problems) = read("[azure]\n[azure.discover]\nsubscriptions = []\nmanagement_groups = []\n");
        assert_eq!((azure, problems.as_str()), (AzureSettings::default(), ""));
        assert!(!AzureSettings::default().discover.is_on());
    }

    #[test]
    fn every_key_is_read() {
        let network =
            format!("/subscriptions/{ID}/resourceGroups/rg-Hub/providers/Microsoft.Network/virtualNetworks/Hub");
        let (azure, problems) = read(&format!(
            r#"
            [azure]
            public_answers = "refuse"
            public_except = ["stpublic.blob.core.windows.net", "cdn.example"]
            public_fallback = ["192.0.2.53", "tls://192.0.2.54#dns.example"]
            [azure.discover]
            subscriptions = ["{ID}"]
            management_groups = ["mg-Platform"]
            networks = ["{network}/"]
            cloud = "usgov"
            identity = "workload"
            client_id = "{ID}"
            interval = "1500ms"
            grace = "1h"
            views = false
            max_memory = "100MiB"
            state = ""
            resource_manager = "http://127.0.0.1:8080/"
            metadata_service = "http://[::1]:8081"
            "#
        ));
        assert_eq!(problems, "");
        assert_eq!(azure.public_answers, PublicAnswers::Refuse);
        assert_eq!(azure.public_except.iter().map(ToString::to_string).collect::<Vec<_>>().len(), 2);
        assert_eq!(azure.public_fallback.len(), 2);
        let expected = DiscoverSettings {
            subscriptions: vec![ID.to_ascii_lowercase()],
            management_groups: vec!["mg-platform".to_owned()],
            networks: vec![network.to_ascii_lowercase()],
            cloud: DiscoverCloud::UsGov,
            identity: Identity::Workload,
            client_id: Some(ID.to_ascii_lowercase()),
            interval: Duration::from_millis(1500),
            grace: Duration::from_secs(3600),
            views: false,
            max_memory: 100 << 20,
            state: None,
            resource_manager: Some("http://127.0.0.1:8080".to_owned()),
            metadata_service: Some("http://[::1]:8081".to_owned()),
        };
        assert!(expected.is_on());
        assert_eq!(azure.discover, expected);
    }

    #[test]
    fn values_that_cannot_be_are_errors_at_their_places() {
        for (section, line, message) in [
            ("azure", "public_answers = \"deny\"", "`public_answers` must be one of allow, warn, refuse"),
            ("azure", "public_except = [\"*.example\"]", "takes no `*`"),
            ("azure", "public_fallback = [\"dns.example\"]", "upstream"),
            ("azure.discover", "subscriptions = [\"hub\"]", "\"hub\" in `subscriptions` is not a subscription id"),
            ("azure.discover", "management_groups = [\"My Group\"]", "is not a management group id"),
            ("azure.discover", "networks = [\"vnet-hub\"]", "is not the resource id of a virtual network"),
            ("azure.discover", "cloud = \"gov\"", "`cloud` must be one of public, china, usgov"),
            ("azure.discover", "identity = \"msi\"", "`identity` must be one of managed, workload, cli"),
            ("azure.discover", "client_id = \"me\"", "is not a client ID"),
            ("azure.discover", "interval = \"0s\"", "`interval` must be longer than 0s"),
            ("azure.discover", "grace = 10", "`grace` in [azure.discover] must be"),
            ("azure.discover", "max_memory = \"64\"", "`max_memory` is not a size"),
            ("azure.discover", "max_memory = \"1KiB\"", "`max_memory` must be at least 1MiB"),
            ("azure.discover", "view = true", "unknown key `view` in [azure.discover]"),
            ("azure.discover", "resource_manager = \"http://management.azure.com\"", "loopback addresses only"),
            ("azure.discover", "resource_manager = \"http://localhost:80\"", "loopback addresses only"),
            ("azure.discover", "resource_manager = \"http://127.0.0.1.example\"", "loopback addresses only"),
            ("azure.discover", "resource_manager = \"http://169.254.169.254\"", "loopback addresses only"),
            ("azure.discover", "resource_manager = \"https://me@host\"", "is not a valid URL of a server"),
            ("azure.discover", "resource_manager = \"https://host:0\"", "is not a valid URL of a server"),
            ("azure.discover", "resource_manager = \"https://host/a?b=c\"", "is not a valid URL of a server"),
            ("azure.discover", "metadata_service = \"http://10.0.0.1\"", "loopback addresses only"),
            ("azure.discover", "metadata_service = \"169.254.169.254\"", "is not a valid URL of a server"),
        ] {
            let (_, problems) = read(&format!("[{section}]\n{line}\n"));
            assert!(problems.starts_with("pldns.toml:2:") && problems.contains(": error: "), "{line}: {problems}");
            assert!(problems.contains(message), "{line}: {problems}");
        }
    }

    #[test]
    fn what_has_no_effect_is_warned_of() {
        let (azure, problems) = read("[azure]\npublic_fallback = [\"168.63.129.16\"]\n");
        assert!(problems.contains(":2:20: warning: Azure DNS would give"), "{problems}");
        assert_eq!(azure.public_fallback.len(), 1);
        let (_, problems) = read(&format!("[azure.discover]\nidentity = \"cli\"\nclient_id = \"{ID}\"\n"));
        assert!(problems.contains(":3:13: warning: `client_id` has no effect"), "{problems}");
        assert!(problems.contains("warning: discovery is off"), "{problems}");
        let (azure, problems) = read(&format!("[azure.discover]\nsubscriptions = [\"{ID}\", \"{ID}\"]\n"));
        assert!(problems.contains("is in `subscriptions` twice"), "{problems}");
        assert_eq!(azure.discover.subscriptions.len(), 1);
        let (_, problems) = read("[azure.discover]\nmetadata_service = \"http://169.254.169.254\"\n");
        assert_eq!(problems, "");
    }
}
