//! The media ports that other sockets of the network namespace are bound to. They would lose their packets to a port
//! that is opened here, so it is not.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use moorline_xdp_abi::lookup::Range;

mod proc;
mod sock_diag;

/// A bit for every entry of the port map.
pub(super) struct Others(Vec<AtomicU64>);

impl Others {
    pub(super) fn new(entries: u32) -> Others {
        Others((0..entries.div_ceil(64)).map(|_| AtomicU64::new(0)).collect())
    }

    /// Whether somebody else had this port when it was last looked.
    #[inline]
    pub(super) fn have(&self, entry: u32) -> bool {
        let word = self.0.get(entry as usize / 64).map_or(0, |word| word.load(Ordering::Relaxed));
        word & (1 << (entry % 64)) != 0
    }

    /// Looks at all bound sockets. Where they cannot be listed, nobody has any.
    pub(super) fn look(&self, ranges: &[Range]) {
        let mut found = vec![0; self.0.len()];
        for v6 in [false, true] {
            for bound in sock_diag::bound(v6).unwrap_or_else(|_| proc::bound(v6)) {
                mark(&mut found, ranges, bound);
            }
        }
        for (word, found) in self.0.iter().zip(found) {
            word.store(found, Ordering::Relaxed);
        }
    }
}

fn mark(found: &mut [u64], ranges: &[Range], bound: SocketAddr) {
    for range in ranges {
        let v6 = range.prefix != [[0; 4], [0; 4], [0, 0, 0xff, 0xff]];
        if v6 && bound.is_ipv4() {
            continue;
        }
        // A socket of no address has the port on all of them.
        let entries = if bound.ip().is_unspecified() {
            let port = u32::from(bound.port()).wrapping_sub(range.first_port);
            let count = if port < range.ports { range.addresses } else { 0 };
            (0..count).map(|n| range.base + n * range.stride + port).collect()
        } else {
            Vec::from_iter(range.entry(bound.ip(), bound.port()))
        };
        for entry in entries {
            if let Some(word) = found.get_mut(entry as usize / 64) {
                *word |= 1 << (entry % 64);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn bound_ports_are_seen_until_they_are_closed() {
        let v4 = Range::new("127.79.9.1".parse().unwrap(), 2, 21_000, 64, 0);
        let v6 = Range::new("::1".parse().unwrap(), 1, 21_000, 64, 128);
        let ranges = [v4, v6];
        let others = Others::new(192);
        others.look(&ranges);
        assert_eq!((0..192).filter(|entry| others.have(*entry)).count(), 0);
        let own = UdpSocket::bind("127.79.9.2:21004").unwrap();
        let all = UdpSocket::bind("0.0.0.0:21007").unwrap();
        let sixth = UdpSocket::bind("[::1]:21009").unwrap();
        others.look(&ranges);
        let had: Vec<u32> = (0..192).filter(|entry| others.have(*entry)).collect();
        assert_eq!(had, [7, 68, 71, 137]);
        drop((own, all, sixth));
        others.look(&ranges);
        assert_eq!((0..192).filter(|entry| others.have(*entry)).count(), 0);
        assert!(!others.have(10_000));
    }

    #[test]
    fn a_bound_port_is_seen_while_others_come_and_go() {
        let ranges = [Range::new("127.79.10.1".parse().unwrap(), 1, 21_000, 2, 0)];
        let others = Others::new(2);
        let _own = UdpSocket::bind("127.79.10.1:21000").unwrap();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    // Enough for several pieces of the list.
                    let _gone: Vec<_> = (0..300).map(|_| UdpSocket::bind("127.79.10.2:0")).collect();
                }
            });
            let unseen = (0..2000).filter(|_| {
                others.look(&ranges);
                !others.have(0)
            });
            let unseen = unseen.count();
            over.store(true, Ordering::Relaxed);
            assert_eq!(unseen, 0);
        });
    }
}
