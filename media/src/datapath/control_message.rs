//! What the kernel says beside a datagram: when it was received, what it was sent to, and how many were lost
//! before it.

use std::net::SocketAddr;

use super::address::{NAME_LEN, parse};

/// Room for an `SCM_TIMESTAMPNS` message and an `SO_RXQ_OVFL` one, which comes once the socket has lost
/// anything.
pub(crate) const CONTROL_LEN: usize = HEADER + size_of::<libc::timespec>() + HEADER + size_of::<u64>();
/// Room for an `IP_ORIGDSTADDR` or `IPV6_ORIGDSTADDR` message as well.
pub(crate) const CONTROL_LEN_WITH_DESTINATION: usize = CONTROL_LEN + HEADER + NAME_LEN.next_multiple_of(8);
const HEADER: usize = size_of::<libc::cmsghdr>();

// The reading below assumes the 64-bit layout: header and timestamp are 16 bytes each, and a message takes a
// multiple of 8.
const _: () = assert!(HEADER == 16 && CONTROL_LEN == 56 && CONTROL_LEN_WITH_DESTINATION == 104);

/// What is known of a datagram beside its bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// The kernel's receive time, nanoseconds of the real-time clock.
    pub(crate) received_ns: Option<u64>,
    /// The address and port that it was sent to.
    pub(crate) destination: Option<SocketAddr>,
    /// How many datagrams the socket has lost since it was opened, if any.
    lost: Option<u32>,
}

impl Told {
    /// Reads control messages; nothing of their lengths is promised, and unknown ones are passed over.
    #[inline]
    pub(crate) fn read(mut control: &[u8]) -> Told {
        let mut told = Told::default();
        while let Some((header, data)) = control.split_first_chunk::<HEADER>() {
            let number = |at: usize| i32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
            match (number(8), number(12)) {
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => told.received_ns = nanoseconds(data),
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                    told.lost = data.first_chunk().map(|count| u32::from_ne_bytes(*count));
                }
                (libc::IPPROTO_IP, libc::IP_ORIGDSTADDR) | (libc::IPPROTO_IPV6, libc::IPV6_ORIGDSTADDR) => {
                    told.destination = parse(data);
                }
                _ => {}
            }
            let len = header.first_chunk().map_or(0, |len| usize::from_ne_bytes(*len));
            // A length below the header's own would never end.
            let next = len.max(HEADER).checked_next_multiple_of(8).and_then(|next| control.get(next..));
            let Some(next) = next else { break };
            control = next;
        }
        told
    }
}

fn nanoseconds(timespec: &[u8]) -> Option<u64> {
    let seconds = u64::from_ne_bytes(*timespec.first_chunk()?);
    let nanoseconds = u64::from_ne_bytes(*timespec.get(8..)?.first_chunk()?);
    seconds.checked_mul(1_000_000_000)?.checked_add(nanoseconds)
}

/// The datagrams that a socket lost because its receive buffer was full, as far as it has said.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Lost {
    /// Since the socket was opened.
    said: u32,
}

impl Lost {
    /// How many more were lost before a datagram. Of what is lost after the last one no datagram tells.
    #[inline]
    pub(crate) fn newly(&mut self, told: &Told) -> u32 {
        told.lost.map_or(0, |lost| self.newly_of(lost))
    }

    /// How many more were lost, of so many since the socket was opened.
    pub(crate) fn newly_of(&mut self, said: u32) -> u32 {
        let newly = said.wrapping_sub(self.said);
        self.said = said;
        newly
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datapath::address::Name;

    fn received_ns(control: &[u8]) -> Option<u64> {
        Told::read(control).received_ns
    }

    fn message(kind: i32, data: &[u64]) -> Vec<u8> {
        let mut bytes = (HEADER + data.len() * 8).to_ne_bytes().to_vec();
        bytes.extend(libc::SOL_SOCKET.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(data.iter().flat_map(|word| word.to_ne_bytes()));
        bytes
    }

    #[test]
    fn the_timestamp_is_found_alone_and_behind_others() {
        let stamp = message(libc::SCM_TIMESTAMPNS, &[1_700_000_000, 123_456_789]);
        assert_eq!(received_ns(&stamp), Some(1_700_000_000_123_456_789));
        let both = [message(libc::SO_RXQ_OVFL, &[7]), stamp].concat();
        assert_eq!(received_ns(&both), Some(1_700_000_000_123_456_789));
    }

    #[test]
    fn the_destination_is_found_behind_the_others() {
        let stamp = message(libc::SCM_TIMESTAMPNS, &[1, 2]);
        let cases = [
            (libc::IPPROTO_IP, libc::IP_ORIGDSTADDR, "127.0.0.1:20000"),
            (libc::IPPROTO_IPV6, libc::IPV6_ORIGDSTADDR, "[2001:db8::7]:65535"),
        ];
        for (level, kind, address) in cases {
            let address: SocketAddr = address.parse().unwrap();
            let name = Name::new(address);
            let mut own = (HEADER + name.bytes().len()).to_ne_bytes().to_vec();
            own.extend(level.to_ne_bytes());
            own.extend(kind.to_ne_bytes());
            own.extend(name.bytes());
            let control = [stamp.clone(), message(libc::SO_RXQ_OVFL, &[7]), own].concat();
            assert!(control.len() <= CONTROL_LEN_WITH_DESTINATION);
            let told = Told::read(&control);
            assert_eq!((told.destination, told.received_ns, told.lost), (Some(address), Some(1_000_000_002), Some(7)));
            assert_eq!(Told::read(&control[..control.len() - name.bytes().len()]).destination, None);
        }
    }

    #[test]
    fn losses_are_said_once_and_counted_round_the_circle() {
        let stamp = message(libc::SCM_TIMESTAMPNS, &[1_700_000_000, 123_456_789]);
        let mut lost = Lost::default();
        let mut newly = |count: u32| {
            let mut said = message(libc::SO_RXQ_OVFL, &[u64::MAX]);
            said[HEADER..HEADER + 4].copy_from_slice(&count.to_ne_bytes());
            let control = [stamp.clone(), said].concat();
            assert!(control.len() <= CONTROL_LEN);
            assert_eq!(lost.newly(&Told::read(&stamp)), 0, "nothing is said while nothing is lost");
            lost.newly(&Told::read(&control))
        };
        assert_eq!([newly(3), newly(3), newly(10), newly(u32::MAX), newly(4)], [3, 0, 7, u32::MAX - 10, 5]);
        let mut cut = message(libc::SO_RXQ_OVFL, &[7]);
        cut.truncate(HEADER + 3);
        assert_eq!(lost.newly(&Told::read(&cut)), 0);
    }

    #[test]
    fn what_is_cut_short_or_absurd_has_none() {
        let stamp = message(libc::SCM_TIMESTAMPNS, &[1, 2]);
        for len in 0..stamp.len() {
            assert_eq!(received_ns(&stamp[..len]), None, "{len} bytes");
        }
        assert_eq!(received_ns(&message(libc::SCM_TIMESTAMPNS, &[u64::MAX, 1])), None);
        let mut endless = message(libc::SO_RXQ_OVFL, &[7]);
        endless[..8].copy_from_slice(&usize::MAX.to_ne_bytes());
        assert_eq!(received_ns(&endless), None);
        endless[..8].copy_from_slice(&0usize.to_ne_bytes());
        assert_eq!(received_ns(&endless), None);
    }
}
