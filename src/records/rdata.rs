//! stub
use crate::wire::{Name, Rtype};
/// stub
#[derive(Debug, thiserror::Error)]
#[error("bad data")]
pub struct RdataError;
impl RdataError {
    /// hint
    pub fn hint(&self) -> String { String::new() }
}
/// stub
pub fn parse(rtype: Rtype, text: &str) -> Result<Vec<u8>, RdataError> {
    match rtype {
        Rtype::A => text.parse::<std::net::Ipv4Addr>().map(|a| a.octets().to_vec()).map_err(|_| RdataError),
        Rtype::AAAA => text.parse::<std::net::Ipv6Addr>().map(|a| a.octets().to_vec()).map_err(|_| RdataError),
        Rtype::CNAME | Rtype::PTR | Rtype::NS => Name::parse(text).map(|n| n.as_wire().to_vec()).map_err(|_| RdataError),
        Rtype::TXT => Ok([&[text.len() as u8][..], text.as_bytes()].concat()),
        _ => Err(RdataError),
    }
}
