//! Which addresses can only be reached inside a network.

use std::net::IpAddr;

/// Whether an address can only be reached inside a network: private, shared, link-local, unique local or loopback.
pub fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private() || v4.is_loopback() || v4.is_link_local() || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

/// The same of the data of an A or AAAA record; `None` for data of another length.
pub fn is_private_address(data: &[u8]) -> Option<bool> {
    let v4 = <[u8; 4]>::try_from(data).map(IpAddr::from);
    let address = v4.or_else(|_| <[u8; 16]>::try_from(data).map(IpAddr::from));
    address.ok().map(is_private)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_that_the_internet_does_not_reach() {
        for text in [
            "10.1.0.5",
            "172.31.0.1",
            "192.168.0.1",
            "100.64.0.1",
            "169.254.1.1",
            "127.0.0.1",
            "fd00::1",
            "::1",
            "fe80::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(is_private(text.parse().unwrap()), "{text}");
        }
        for text in ["20.60.1.1", "172.32.0.1", "100.128.0.1", "168.63.129.16", "2603:1030::1", "::ffff:20.60.1.1"] {
            assert!(!is_private(text.parse().unwrap()), "{text}");
        }
        assert_eq!(is_private_address(&[10, 0, 0, 1]), Some(true));
        assert_eq!(is_private_address(&[20, 0, 0, 1]), Some(false));
        assert_eq!(is_private_address(&[20, 0, 0]), None);
    }
}
