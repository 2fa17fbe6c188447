//! What the kernel says beside a datagram: when it was received, and how many were lost before it.

/// Room for an `SCM_TIMESTAMPNS` message and an `SO_RXQ_OVFL` one, which comes once the socket has lost
/// anything.
pub(crate) const CONTROL_LEN: usize = HEADER + size_of::<libc::timespec>() + HEADER + size_of::<u64>();
const HEADER: usize = size_of::<libc::cmsghdr>();

// The reading below assumes the 64-bit layout: header and timestamp are 16 bytes each, and a message takes a
// multiple of 8.
const _: () = assert!(HEADER == 16 && CONTROL_LEN == 56);

/// The kernel's receive time, nanoseconds of the real-time clock; `None` if it is not there.
pub(crate) fn received_ns(control: &[u8]) -> Option<u64> {
    let stamp = find(control, libc::SCM_TIMESTAMPNS)?;
    let seconds = u64::from_ne_bytes(*stamp.first_chunk()?);
    let nanoseconds = u64::from_ne_bytes(*stamp.get(8..)?.first_chunk()?);
    seconds.checked_mul(1_000_000_000)?.checked_add(nanoseconds)
}

/// The datagrams that a socket lost because its receive buffer was full, as far as it has said.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Lost {
    /// Since the socket was opened.
    said: u32,
}

impl Lost {
    /// How many more were lost before a datagram that came with these control messages. What is lost after
    /// the last datagram is never said.
    pub(crate) fn newly(&mut self, control: &[u8]) -> u32 {
        let said = find(control, libc::SO_RXQ_OVFL).and_then(|count| count.first_chunk());
        let Some(said) = said.map(|count| u32::from_ne_bytes(*count)) else { return 0 };
        let newly = said.wrapping_sub(self.said);
        self.said = said;
        newly
    }
}

/// What follows the header of the first message of a kind; nothing of its length is promised.
fn find(mut control: &[u8], wanted: i32) -> Option<&[u8]> {
    while let Some(header) = control.first_chunk::<HEADER>() {
        let len = usize::from_ne_bytes(*header.first_chunk()?);
        let level = i32::from_ne_bytes(*header[8..].first_chunk()?);
        let kind = i32::from_ne_bytes(*header[12..].first_chunk()?);
        if level == libc::SOL_SOCKET && kind == wanted {
            return control.get(HEADER..);
        }
        // A length below the header's own would never end.
        control = control.get(len.max(HEADER).checked_next_multiple_of(8)?..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn losses_are_said_once_and_counted_round_the_circle() {
        let stamp = message(libc::SCM_TIMESTAMPNS, &[1_700_000_000, 123_456_789]);
        let mut lost = Lost::default();
        let mut newly = |count: u32| {
            let mut said = message(libc::SO_RXQ_OVFL, &[u64::MAX]);
            said[HEADER..HEADER + 4].copy_from_slice(&count.to_ne_bytes());
            let control = [stamp.clone(), said].concat();
            assert!(control.len() <= CONTROL_LEN);
            assert_eq!(lost.newly(&stamp), 0, "nothing is said while nothing is lost");
            lost.newly(&control)
        };
        assert_eq!([newly(3), newly(3), newly(10), newly(u32::MAX), newly(4)], [3, 0, 7, u32::MAX - 10, 5]);
        let mut cut = message(libc::SO_RXQ_OVFL, &[7]);
        cut.truncate(HEADER + 3);
        assert_eq!(lost.newly(&cut), 0);
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
