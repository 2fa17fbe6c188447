//! `moorline-bench speech`: audio for SIPp to stream.

use std::f64::consts::TAU;
use std::path::PathBuf;
use std::process::ExitCode;

use super::Outcome;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How long it lasts.
    #[arg(long, default_value_t = 5)]
    seconds: u32,
    /// The tone it begins with, in hertz.
    #[arg(long, default_value_t = 300.0)]
    from_hz: f64,
    /// The file to write: headerless, 8,000 samples a second.
    file: PathBuf,
}

pub(crate) fn run(args: &Args) -> Outcome {
    std::fs::write(&args.file, chirp(args.from_hz, args.seconds))
        .map_err(|error| format!("{}: {error}", args.file.display()))?;
    Ok(ExitCode::SUCCESS)
}

const RATE: u32 = 8000;

/// A tone that rises, so that every packet has another payload.
fn chirp(from_hz: f64, seconds: u32) -> Vec<u8> {
    const RISE_HZ_PER_S: f64 = 200.0;
    let sample = |index: u32| {
        let t = f64::from(index) / f64::from(RATE);
        let phase = TAU * (from_hz + RISE_HZ_PER_S / 2.0 * t) * t;
        a_law((phase.sin() * 16_000.0) as i16)
    };
    (0..seconds * RATE).map(sample).collect()
}

/// ITU-T G.711, A-law: sign, three bits of exponent, four of mantissa, every other bit inverted.
fn a_law(sample: i16) -> u8 {
    let magnitude = if sample < 0 { !sample } else { sample } >> 4;
    let code = match magnitude {
        // The two lowest segments have steps of one size.
        0..32 => magnitude,
        _ => {
            let exponent = (magnitude as u16).ilog2() as i16 - 3;
            (exponent << 4) | ((magnitude >> (exponent - 1)) & 0x0f)
        }
    };
    let sign = if sample < 0 { 0 } else { 0x80 };
    (code as u8 | sign) ^ 0x55
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ends of the scale, the ends of segments, and the first steps on either side of zero.
    #[test]
    fn a_law_is_of_g711() {
        let coded = [0, 16, 511, 512, 1024, 32767, -1, -17, -32768].map(a_law);
        assert_eq!(coded, [0xd5, 0xd4, 0xca, 0xf5, 0xe5, 0xaa, 0x55, 0x54, 0x2a]);
    }

    #[test]
    fn no_two_packets_are_alike() {
        let audio = chirp(300.0, 5);
        let packets: std::collections::HashSet<&[u8]> = audio.chunks(160).collect();
        assert_eq!((audio.len(), packets.len()), (40_000, 250));
    }
}
