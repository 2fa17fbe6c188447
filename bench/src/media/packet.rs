//! The packets: RTP (RFC 3550 section 5.1) with a payload that can be verified.

/// The length of an RTP header without CSRCs or extension.
const HEADER: usize = 12;

/// The fields at the start of the payload: call, direction, index, time.
const FIELDS: usize = 20;

/// The longest packet: 60 ms of 8 bytes each.
pub(crate) const MAX_PACKET: usize = HEADER + 60 * 8;

/// What all packets of a run have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recipe {
    pub(crate) seed: u64,
    pub(crate) packet_ms: u32,
    pub(crate) payload_type: u8,
}

/// The identity of one packet, as its payload states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) call: u32,
    /// Sent by side A.
    pub(crate) from_a: bool,
    /// Counted from 0 within the stream.
    pub(crate) index: u32,
    /// When it was sent, `CLOCK_MONOTONIC`.
    pub(crate) sent_ns: u64,
}

impl Recipe {
    /// The synchronization source of a stream. It counts up from one number, so that RTCP, which carries
    /// nothing else, names its stream.
    pub(crate) fn ssrc(&self, call: u32, from_a: bool) -> u32 {
        self.first_ssrc().wrapping_add(call.wrapping_mul(2)).wrapping_add(u32::from(!from_a))
    }

    /// The call and side that [`Recipe::ssrc`] made `ssrc` from.
    pub(crate) fn stream(&self, ssrc: u32) -> (u32, bool) {
        let number = ssrc.wrapping_sub(self.first_ssrc());
        (number / 2, number.is_multiple_of(2))
    }

    /// Writes a packet and returns its length.
    pub(crate) fn write(&self, label: Label, out: &mut [u8; MAX_PACKET]) -> usize {
        out[..HEADER].copy_from_slice(&self.header(label));
        let payload = &mut out[HEADER..HEADER + self.payload_length()];
        payload[..FIELDS].copy_from_slice(&fields(label));
        for (chunk, word) in payload[FIELDS..].chunks_mut(8).zip(self.pattern(label)) {
            chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
        }
        HEADER + self.payload_length()
    }

    /// The label of a packet of this run, or `None` if any byte of it is not as it was written.
    pub(crate) fn read(&self, packet: &[u8]) -> Option<Label> {
        let (header, payload) = packet.split_at_checked(HEADER)?;
        if payload.len() != self.payload_length() {
            return None;
        }
        let (fields, pattern) = payload.split_at_checked(FIELDS)?;
        let label = Label {
            call: u32::from_le_bytes(fields[..4].try_into().ok()?),
            from_a: u32::from_le_bytes(fields[4..8].try_into().ok()?) == 0,
            index: u32::from_le_bytes(fields[8..12].try_into().ok()?),
            sent_ns: u64::from_le_bytes(fields[12..].try_into().ok()?),
        };
        let whole = header == self.header(label)
            && fields == self::fields(label)
            && pattern
                .chunks(8)
                .zip(self.pattern(label))
                .all(|(chunk, word)| *chunk == word.to_le_bytes()[..chunk.len()]);
        whole.then_some(label)
    }

    /// 64 kbit/s: 8 bytes a millisecond.
    fn payload_length(&self) -> usize {
        self.packet_ms.clamp(5, 60) as usize * 8
    }

    fn header(&self, label: Label) -> [u8; HEADER] {
        let ssrc = self.ssrc(label.call, label.from_a);
        let start = mix(self.seed ^ u64::from(ssrc) << 20).to_le_bytes();
        let sequence = u16::from_le_bytes([start[0], start[1]]).wrapping_add(label.index as u16);
        let samples = u32::try_from(self.payload_length()).unwrap_or(0).wrapping_mul(label.index);
        let timestamp = u32::from_le_bytes([start[2], start[3], start[4], start[5]]).wrapping_add(samples);
        let mut header = [0; HEADER];
        header[0] = 0x80;
        // The marker opens a talk spurt (RFC 3551 section 4.1).
        header[1] = if label.index == 0 { 0x80 } else { 0 } | self.payload_type & 0x7f;
        header[2..4].copy_from_slice(&sequence.to_be_bytes());
        header[4..8].copy_from_slice(&timestamp.to_be_bytes());
        header[8..].copy_from_slice(&ssrc.to_be_bytes());
        header
    }

    /// Words that depend on the run and on every field of the label.
    fn pattern(&self, label: Label) -> impl Iterator<Item = u64> {
        let stream = mix(self.seed ^ mix(u64::from(label.call) << 1 | u64::from(label.from_a)));
        let mut state = mix(stream ^ u64::from(label.index)) ^ mix(label.sent_ns);
        std::iter::repeat_with(move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state ^ state >> 29
        })
    }

    fn first_ssrc(&self) -> u32 {
        (mix(self.seed) >> 32) as u32
    }
}

fn fields(label: Label) -> [u8; FIELDS] {
    let mut fields = [0; FIELDS];
    fields[..4].copy_from_slice(&label.call.to_le_bytes());
    fields[4..8].copy_from_slice(&u32::from(!label.from_a).to_le_bytes());
    fields[8..12].copy_from_slice(&label.index.to_le_bytes());
    fields[12..].copy_from_slice(&label.sent_ns.to_le_bytes());
    fields
}

/// Spreads the bits of a number over all 64 (the finalizer of SplitMix64).
pub(crate) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECIPE: Recipe = Recipe { seed: 7, packet_ms: 20, payload_type: 8 };
    const LABEL: Label = Label { call: 12, from_a: false, index: 70_000, sent_ns: 123_456_789_012 };

    #[test]
    fn a_packet_reads_as_it_was_written() {
        for packet_ms in [5, 20, 30, 60] {
            let recipe = Recipe { packet_ms, ..RECIPE };
            let mut packet = [0; MAX_PACKET];
            let length = recipe.write(LABEL, &mut packet);
            assert_eq!(length, 12 + 8 * packet_ms as usize);
            assert_eq!(recipe.read(&packet[..length]), Some(LABEL));
        }
    }

    #[test]
    fn a_change_of_any_bit_shows() {
        let mut packet = [0; MAX_PACKET];
        let length = RECIPE.write(LABEL, &mut packet);
        for bit in 0..length * 8 {
            packet[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(RECIPE.read(&packet[..length]), None, "bit {bit}");
            packet[bit / 8] ^= 1 << (bit % 8);
        }
        assert_eq!(RECIPE.read(&packet[..length - 1]), None);
        assert_eq!(RECIPE.read(&packet[..length + 1]), None);
        assert_eq!(RECIPE.read(b""), None);
        assert_eq!(Recipe { seed: 8, ..RECIPE }.read(&packet[..length]), None);
    }

    #[test]
    fn headers_are_proper_rtp() {
        let mut packet = [0; MAX_PACKET];
        let length = RECIPE.write(LABEL, &mut packet);
        let first = moorline_rtp::Rtp::parse(&packet[..length]).unwrap();
        assert_eq!((first.payload_type(), first.marker(), first.payload().len()), (8, false, 160));
        let (sequence, timestamp, ssrc) = (first.sequence(), first.timestamp(), first.ssrc());
        let length = RECIPE.write(Label { index: LABEL.index + 1, ..LABEL }, &mut packet);
        let next = moorline_rtp::Rtp::parse(&packet[..length]).unwrap();
        assert_eq!(next.sequence(), sequence.wrapping_add(1));
        assert_eq!(next.timestamp(), timestamp.wrapping_add(160));
        assert_eq!(next.ssrc(), ssrc);
        assert_eq!(RECIPE.stream(ssrc), (12, false));
    }
}
