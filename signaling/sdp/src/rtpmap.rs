//! What payload types stand for.

use crate::line::{is_blank, number};

/// The most `a=rtpmap` lines of a section that are read: as many as there are dynamic payload types (RFC 3551
/// section 6).
pub const MAX_RTPMAPS: usize = 32;

/// What a payload type stands for: `a=rtpmap:<payload type> <encoding name>/<clock rate>` (RFC 8866 section 6.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtpMap<'a> {
    /// 0 to 127.
    pub payload_type: u8,
    /// The encoding name as written.
    pub encoding: &'a [u8],
    /// The clock rate in Hz; not 0.
    pub clock_rate: u32,
}

impl<'a> RtpMap<'a> {
    /// Reads the attribute's argument; `None` for one of another shape, which says nothing.
    pub(crate) fn read(argument: &'a [u8]) -> Option<RtpMap<'a>> {
        let mut parts = argument.split(|b| is_blank(*b)).filter(|part| !part.is_empty());
        let payload_type = u8::try_from(number(parts.next()?)?).ok().filter(|number| *number < 128)?;
        let mut parts = parts.next()?.split(|b| *b == b'/');
        let encoding = parts.next().filter(|name| !name.is_empty())?;
        let clock_rate = std::str::from_utf8(parts.next()?).ok()?;
        let digits = clock_rate.bytes().all(|digit| digit.is_ascii_digit());
        let clock_rate = clock_rate.parse().ok().filter(|rate| digits && *rate > 0)?;
        Some(RtpMap { payload_type, encoding, clock_rate })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_rtpmap_is_a_payload_type_a_name_and_a_clock_rate() {
        let map = |payload_type, encoding, clock_rate| Some(RtpMap { payload_type, encoding, clock_rate });
        for (text, expected) in [
            (&b"111 opus/48000/2"[..], map(111, b"opus", 48_000)),
            (b"0 PCMU/8000", map(0, b"PCMU", 8_000)),
            (b"  101\ttelephone-event/8000 ", map(101, b"telephone-event", 8_000)),
            (b"128 opus/48000", None),
            (b"-1 opus/48000", None),
            (b"96 opus", None),
            (b"96 /8000", None),
            (b"96 opus/", None),
            (b"96 opus/+48000", None),
            (b"96 opus/0", None),
            (b"96 opus/99999999999", None),
            (b"96 opus/48\xff", None),
            (b"96", None),
            (b"", None),
        ] {
            assert_eq!(RtpMap::read(text), expected, "{text:?}");
        }
    }
}
