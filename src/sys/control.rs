//! The address that a datagram was sent to, in and out (`IP_PKTINFO`, `IPV6_PKTINFO`).

use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Bytes of control data that hold either kind of packet info.
pub(super) const CONTROL_LEN: usize = 64;

/// Control data, aligned as the kernel's headers want it.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub(super) struct Control(pub(super) [u8; CONTROL_LEN]);

impl Default for Control {
    fn default() -> Self {
        Self([0; CONTROL_LEN])
    }
}

impl Control {
    /// Level and type of the first control message that a receive wrote into these `len` bytes.
    pub(super) fn kind(&self, len: usize) -> Option<(libc::c_int, libc::c_int)> {
        let header = self.0.get(..len)?.get(..size_of::<libc::cmsghdr>())?;
        // SAFETY: cmsghdr is plain integers, valid for any bytes, and `header` holds exactly its size; the read does not
        // require alignment.
        let header: libc::cmsghdr = unsafe { std::ptr::read_unaligned(header.as_ptr().cast()) };
        Some((header.cmsg_level, header.cmsg_type))
    }

    /// Makes this the only control message; gives the length of it all.
    fn put(&mut self, level: libc::c_int, kind: libc::c_int, payload: &[u8]) -> usize {
        let header_len = size_of::<libc::cmsghdr>();
        *self = Self::default();
        let mut header = [0u8; size_of::<libc::cmsghdr>()];
        // SAFETY: an all-zero cmsghdr is a valid value of plain integers.
        let mut head: libc::cmsghdr = unsafe { mem::zeroed() };
        head.cmsg_len = (header_len + payload.len()) as _;
        head.cmsg_level = level;
        head.cmsg_type = kind;
        // SAFETY: `header` has exactly the size of a cmsghdr, and the write does not require alignment.
        unsafe { std::ptr::write_unaligned(header.as_mut_ptr().cast(), head) };
        self.0[..header_len].copy_from_slice(&header);
        self.0[header_len..header_len + payload.len()].copy_from_slice(payload);
        (header_len + payload.len()).next_multiple_of(size_of::<usize>())
    }
}

/// Writes control data that makes the kernel cut a message into datagrams of this many bytes, the last one of what is
/// left (`UDP_SEGMENT`); gives its length.
pub(super) fn write_segment_size(bytes: u16, control: &mut Control) -> usize {
    control.put(libc::IPPROTO_UDP, libc::UDP_SEGMENT, &bytes.to_ne_bytes())
}

/// The local address that a datagram came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalAddress {
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address, and the interface where the address is of that link alone.
    V6(Ipv6Addr, u32),
}

impl LocalAddress {
    /// Reads the packet info out of control data that a receive filled in.
    pub(super) fn read(control: &Control, len: usize) -> Option<Self> {
        let data = control.0.get(..len)?;
        let header_len = size_of::<libc::cmsghdr>();
        let header = data.get(..header_len)?;
        // SAFETY: cmsghdr is plain integers, valid for any bytes, and `header` holds exactly its size; the read does not
        // require alignment.
        let header: libc::cmsghdr = unsafe { std::ptr::read_unaligned(header.as_ptr().cast()) };
        let payload = data.get(header_len..)?;
        match (header.cmsg_level, header.cmsg_type) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                // in_pktinfo: interface index, local address to reply from, destination address; 4 bytes each.
                let address: [u8; 4] = payload.get(4..8)?.try_into().ok()?;
                Some(Self::V4(Ipv4Addr::from(address)))
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                // in6_pktinfo: address, interface index.
                let address: [u8; 16] = payload.get(..16)?.try_into().ok()?;
                let interface: [u8; 4] = payload.get(16..20)?.try_into().ok()?;
                let address = Ipv6Addr::from(address);
                let of_link = address.is_unicast_link_local();
                Some(Self::V6(address, if of_link { u32::from_ne_bytes(interface) } else { 0 }))
            }
            _ => None,
        }
    }

    /// Writes control data that makes a datagram leave from this address; gives its length.
    ///
    /// The interface is left to the routing table (but for addresses of a link): a reply may take another way than its
    /// query did.
    pub(super) fn write(self, control: &mut Control) -> usize {
        match self {
            Self::V4(address) => {
                let mut payload = [0; 12];
                payload[4..8].copy_from_slice(&address.octets());
                control.put(libc::IPPROTO_IP, libc::IP_PKTINFO, &payload)
            }
            Self::V6(address, interface) => {
                let mut payload = [0; 20];
                payload[..16].copy_from_slice(&address.octets());
                payload[16..].copy_from_slice(&interface.to_ne_bytes());
                control.put(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &payload)
            }
        }
    }
}

/// The peer of a received datagram.
pub(super) fn peer_of(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that the storage holds a sockaddr_in, which is smaller than the storage.
            let v4: libc::sockaddr_in = unsafe { std::ptr::read((&raw const *storage).cast()) };
            Some(SocketAddr::new(IpAddr::from(v4.sin_addr.s_addr.to_ne_bytes()), u16::from_be(v4.sin_port)))
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that the storage holds a sockaddr_in6, which is smaller than the storage.
            let v6: libc::sockaddr_in6 = unsafe { std::ptr::read((&raw const *storage).cast()) };
            let address = std::net::SocketAddrV6::new(
                v6.sin6_addr.s6_addr.into(),
                u16::from_be(v6.sin6_port),
                v6.sin6_flowinfo,
                v6.sin6_scope_id,
            );
            Some(SocketAddr::V6(address))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_addresses_go_in_and_out() {
        for local in [
            LocalAddress::V4(Ipv4Addr::new(127, 0, 0, 2)),
            LocalAddress::V6("fd00::1".parse().unwrap(), 0),
            LocalAddress::V6("fe80::1".parse().unwrap(), 3),
        ] {
            let mut control = Control([0xff; CONTROL_LEN]);
            let len = local.write(&mut control);
            assert!(len <= CONTROL_LEN);
            assert_eq!(LocalAddress::read(&control, len), Some(local));
            assert_eq!(LocalAddress::read(&control, 8), None);
        }
    }
}
