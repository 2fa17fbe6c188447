//! ITU-T G.711: an octet for each sample, of 8 bits with a logarithmic scale, by either law.
//!
//! Samples are of 16 bits, as in WAV files: those of the A-law's 13 bits and of the µ-law's 14 stand at the top.

/// What the µ-law adds before it looks for the segment (G.711 table 2b), in samples of 16 bits.
const BIAS: i32 = 0x84;
/// The greatest magnitude of the µ-law.
const CLIP: i32 = 32_635;

/// The sample behind an A-law octet.
pub(super) fn of_pcma(octet: u8) -> i16 {
    let octet = octet ^ 0x55;
    let (segment, step) = (octet >> 4 & 7, i32::from(octet & 0x0f));
    let magnitude = match segment {
        0 => (step << 4) + 8,
        segment => ((step << 4) + 0x108) << (segment - 1),
    };
    // The sign bit is 1 for positive samples.
    (if octet & 0x80 != 0 { magnitude } else { -magnitude }) as i16
}

/// The A-law octet of a sample.
pub(super) fn to_pcma(sample: i16) -> u8 {
    // The decision values below 0 mirror those above it: -1 belongs to the first negative step.
    let (sign, magnitude) = if sample >= 0 { (0x80, i32::from(sample)) } else { (0, -i32::from(sample) - 1) };
    let segment = (i32::BITS - (magnitude >> 8).leading_zeros()).min(7);
    let step = if segment == 0 { magnitude >> 4 } else { magnitude >> (segment + 3) };
    (sign | (segment << 4) as u8 | (step & 0x0f) as u8) ^ 0x55
}

/// The sample behind a µ-law octet.
pub(super) fn of_pcmu(octet: u8) -> i16 {
    let octet = !octet;
    let (segment, step) = (octet >> 4 & 7, i32::from(octet & 0x0f));
    let magnitude = (((step << 3) + BIAS) << segment) - BIAS;
    // Inverted, the sign bit is 1 for negative samples.
    (if octet & 0x80 != 0 { -magnitude } else { magnitude }) as i16
}

/// The µ-law octet of a sample.
pub(super) fn to_pcmu(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = i32::from(sample).abs().min(CLIP) + BIAS;
    // From 0x84 on there is a bit at 7 or above.
    let segment = (magnitude >> 7).ilog2();
    let step = magnitude >> (segment + 3) & 0x0f;
    !(sign | (segment << 4) as u8 | step as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_stand_for_the_samples_of_the_recommendation() {
        // G.711 tables 1a and 2a: the ends of the scale and its middle, decoder output values times 8 and 4.
        for (octet, sample) in [(0xaa, 32_256), (0x2a, -32_256), (0xd5, 8), (0x55, -8), (0x80, 5_504), (0xd4, 24)] {
            assert_eq!(of_pcma(octet), sample, "A-law {octet:#x}");
        }
        for (octet, sample) in [(0x80, 32_124), (0x00, -32_124), (0xff, 0), (0x7f, 0), (0xfe, 8), (0xef, 132)] {
            assert_eq!(of_pcmu(octet), sample, "µ-law {octet:#x}");
        }
    }

    #[test]
    fn what_was_decoded_is_encoded_as_it_was() {
        for octet in 0..=255 {
            assert_eq!(to_pcma(of_pcma(octet)), octet, "A-law");
            // Negative zero of the µ-law has no sample of its own.
            let again = if octet == 0x7f { 0xff } else { octet };
            assert_eq!(to_pcmu(of_pcmu(octet)), again, "µ-law");
        }
    }

    #[test]
    fn a_sample_is_off_by_half_a_step_of_its_segment_at_most() {
        for sample in i16::MIN..=i16::MAX {
            let off = |decoded: i16| (i32::from(decoded) - i32::from(sample)).abs();
            let octet = to_pcma(sample);
            let segment = (octet ^ 0x55) >> 4 & 7;
            assert!(off(of_pcma(octet)) <= 8 << segment.saturating_sub(1), "A-law {sample}");
            let octet = to_pcmu(sample);
            let segment = !octet >> 4 & 7;
            // What is above the scale is cut.
            let above = (i32::from(sample).abs() - CLIP).max(0);
            assert!(off(of_pcmu(octet)) <= (4 << segment) + above, "µ-law {sample}");
        }
    }
}
