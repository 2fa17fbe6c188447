//! The RTCP of a stream: a sender report and its CNAME (RFC 3550 section 6.1).

/// The bytes of a compound packet.
pub(crate) const LENGTH: usize = 28 + 20;

/// A sender report without blocks, and an SDES with the CNAME `moorline`.
pub(crate) fn write(ssrc: u32, now_ns: u64, packets: u32, payload_bytes: u32) -> [u8; LENGTH] {
    let seconds = (now_ns / 1_000_000_000) as u32;
    let fraction = ((now_ns % 1_000_000_000) << 32) / 1_000_000_000;
    let words = [
        // Version 2, no blocks; type 200; 6 words follow.
        0x80c8_0006,
        ssrc,
        // Wall clock is not to be told, so it counts from start-up, which the RFC allows.
        seconds,
        fraction as u32,
        // 8,000 samples a second.
        (now_ns / 125_000) as u32,
        packets,
        packets.wrapping_mul(payload_bytes),
        // Version 2, one chunk; type 202; 4 words follow.
        0x81ca_0004,
        ssrc,
    ];
    let mut out = [0; LENGTH];
    for (chunk, word) in out.chunks_exact_mut(4).zip(words) {
        chunk.copy_from_slice(&word.to_be_bytes());
    }
    out[36..].copy_from_slice(CNAME);
    out
}

/// The SSRC of a compound packet that [`write`] made; `None` if it is not whole.
pub(crate) fn read(packet: &[u8]) -> Option<u32> {
    let word = |at: usize| Some(u32::from_be_bytes(packet.get(at..at + 4)?.try_into().ok()?));
    let whole = packet.len() == LENGTH
        && word(0)? == 0x80c8_0006
        && word(28)? == 0x81ca_0004
        && word(4)? == word(32)?
        && packet.get(36..)? == CNAME;
    if whole { word(4) } else { None }
}

/// Item 1, 8 bytes, and the null that ends the chunk, padded to a word.
const CNAME: &[u8; 12] = b"\x01\x08moorline\0\0";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_nothing_else() {
        let packet = write(0xdead_beef, 1_500_000_000, 10, 160);
        assert_eq!(read(&packet), Some(0xdead_beef));
        assert_eq!(read(&packet[..LENGTH - 1]), None);
        let mut other = packet;
        other[40] ^= 1;
        assert_eq!(read(&other), None);
    }

    #[test]
    fn it_is_rtcp() {
        let packet = write(7, 1, 10, 160);
        assert_eq!(moorline_rtp::Rtcp::parse(&packet).unwrap().packets().count(), 2);
    }
}
