//! The receive timestamp out of a datagram's control messages.

/// Room for one `SCM_TIMESTAMPNS` message.
pub(crate) const CONTROL_LEN: usize = HEADER + size_of::<libc::timespec>();
const HEADER: usize = size_of::<libc::cmsghdr>();

// The reading below assumes the 64-bit layout, in which header and timestamp are 16 bytes each.
const _: () = assert!(HEADER == 16 && CONTROL_LEN == 32);

/// The kernel's receive time, nanoseconds of the real-time clock; `None` if it is not there.
pub(crate) fn received_ns(mut control: &[u8]) -> Option<u64> {
    while let Some(header) = control.first_chunk::<HEADER>() {
        let len = usize::from_ne_bytes(*header.first_chunk()?);
        let level = i32::from_ne_bytes(*header[8..].first_chunk()?);
        let kind = i32::from_ne_bytes(*header[12..].first_chunk()?);
        if level == libc::SOL_SOCKET && kind == libc::SCM_TIMESTAMPNS {
            let seconds = u64::from_ne_bytes(*control.get(HEADER..)?.first_chunk()?);
            let nanoseconds = u64::from_ne_bytes(*control.get(HEADER + 8..)?.first_chunk()?);
            return seconds.checked_mul(1_000_000_000)?.checked_add(nanoseconds);
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
