//! The list of UDP sockets in `/proc`, for kernels without `udp_diag`.

use std::collections::HashSet;
use std::fs::read_to_string;
use std::net::{IpAddr, SocketAddr};

/// How often it is read. The kernel gives it in pieces, and finds the next one by counting: for every socket that was
/// closed meanwhile it passes over one that is open.
const READINGS: usize = 4;

/// The local addresses of all bound sockets; none where there is no such list.
pub(super) fn bound(v6: bool) -> HashSet<SocketAddr> {
    let table = if v6 { "/proc/thread-self/net/udp6" } else { "/proc/thread-self/net/udp" };
    let mut bound = HashSet::new();
    for _ in 0..READINGS {
        let text = read_to_string(table).unwrap_or_default();
        bound.extend(text.lines().skip(1).filter_map(local_address));
    }
    bound
}

/// The local address of a line of `/proc/net/udp` or `/proc/net/udp6`: words of the address in hexadecimal, each as
/// this machine reads the four bytes.
fn local_address(line: &str) -> Option<SocketAddr> {
    let (address, port) = line.split_whitespace().nth(1)?.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |n: usize| Some(u32::from_str_radix(address.get(8 * n..8 * n + 8)?, 16).ok()?.to_ne_bytes());
    let ip = match address.len() {
        8 => IpAddr::from(word(0)?),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?];
            IpAddr::from(<[u8; 16]>::try_from(words.as_flattened()).ok()?).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn both_lists_are_read() {
        for (v6, address) in [(false, "127.79.11.1:0"), (true, "[::1]:0")] {
            let own = UdpSocket::bind(address).unwrap();
            assert!(bound(v6).contains(&own.local_addr().unwrap()), "{address}");
        }
    }

    #[test]
    fn lines_that_are_none_are_no_address() {
        for line in ["", "x", "1: 0100007F 0", "1: 0100007F:XX 0", "1: 01:0050 0", "1: ZZZZZZZZ:0050 0"] {
            assert_eq!(local_address(line), None, "{line}");
        }
    }
}
