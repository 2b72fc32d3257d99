//! Accounts of the AI services: those of kind `AIServices` have three names, whichever of them an endpoint lists.

use super::endpoints::{Endpoint, claim_addresses};
use super::gather::Gathered;
use super::group::Group;
use super::message::{Messages, printable};
use super::records::{Claims, Origin};
use crate::azure::metadata::Account;
use crate::azure::{HostName, private_names};

/// Claims the names that the endpoint of an account does not list, at the address of one that it does.
pub(super) fn claim(gathered: &Gathered, endpoints: &[Endpoint], claims: &mut Claims, messages: &mut Messages) {
    for (_, account) in gathered.accounts.iter().filter(|(_, account)| account.has_three_names) {
        let Some(endpoint) =
            endpoints.iter().find(|endpoint| endpoint.target.is_some() && endpoint.target == account.id)
        else {
            continue;
        };
        claim_account(account, endpoint, claims, messages);
    }
}

fn claim_account(account: &Account, endpoint: &Endpoint, claims: &mut Claims, messages: &mut Messages) {
    let Some(label) = account.subdomain.as_deref().or_else(|| account.id.as_ref().map(|id| id.name())) else {
        return;
    };
    let names: Vec<HostName> = SUFFIXES.iter().filter_map(|suffix| HostName::under([label], suffix)).collect();
    let listed = endpoint.listings.iter().flat_map(|listing| listing.names.iter().map(move |known| (listing, known)));
    let mut listed = listed.filter(|(_, known)| names.contains(&known.name));
    let (addresses, source, what) = match listed.next() {
        Some((listing, known)) => (known.addresses.clone(), &listing.source, &listing.what),
        None => match endpoint.fixed.as_slice() {
            [only] if endpoint.listings.is_empty() => (vec![only.address], &endpoint.place, &endpoint.what),
            _ => return,
        },
    };
    let missing: Vec<&HostName> = names.iter().filter(|name| !claims.has(name)).collect();
    let Some(first) = missing.first() else { return };
    let text = format!(
        "{what} does not list every name of the account {}: {first} and its like were put at the address of the listed one",
        printable(label)
    );
    messages.warning(Some(source), text, "give the endpoint's network interface to be sure");
    for name in missing {
        for name in private_names(name, None).into_iter().chain([name.clone()]) {
            claim_addresses(claims, &name, &addresses, None, Origin::Derived, Group::of(&name), source, what);
        }
    }
}

/// In the public cloud; the others' documentation has no such names.
const SUFFIXES: [&str; 3] = ["cognitiveservices.azure.com", "openai.azure.com", "services.ai.azure.com"];
