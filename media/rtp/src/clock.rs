//! Clock rates of static payload types.

/// The RTP clock rate in Hz that the payload type says (RFC 3551 section 6), or `None` where the type is
/// dynamic or unassigned.
pub const fn clock_rate(payload_type: u8) -> Option<u32> {
    match payload_type {
        // G.722 (9) samples at 16 kHz, but its RTP clock is 8 kHz for historical reasons (section 4.5.2).
        0 | 3..=5 | 7..=9 | 12 | 13 | 15 | 18 => Some(8_000),
        6 => Some(16_000),
        10 | 11 => Some(44_100),
        16 => Some(11_025),
        17 => Some(22_050),
        14 | 25 | 26 | 28 | 31..=34 => Some(90_000),
        _ => None,
    }
}
