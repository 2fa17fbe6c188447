//! `moorline-bench speech`: audio for SIPp to stream, and for phones to play.

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
    /// The file to write, 8,000 samples a second: G.711 A-law without a header, or, where its name ends in
    /// `.wav`, 16 bits linear.
    file: PathBuf,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let samples = chirp(args.from_hz, args.seconds);
    let is_wav = args.file.extension().is_some_and(|extension| extension == "wav");
    std::fs::write(&args.file, if is_wav { wav(samples) } else { samples.map(a_law).collect() })
        .map_err(|error| format!("{}: {error}", args.file.display()))?;
    Ok(ExitCode::SUCCESS)
}

const RATE: u32 = 8000;

/// A tone that rises, so that every packet has another payload.
fn chirp(from_hz: f64, seconds: u32) -> impl ExactSizeIterator<Item = i16> {
    const RISE_HZ_PER_S: f64 = 200.0;
    let sample = move |index: u32| {
        let t = f64::from(index) / f64::from(RATE);
        let phase = TAU * (from_hz + RISE_HZ_PER_S / 2.0 * t) * t;
        (phase.sin() * 16_000.0) as i16
    };
    (0..seconds * RATE).map(sample)
}

/// A RIFF file of one channel: the header, a chunk that says what the samples are, and the samples.
fn wav(samples: impl ExactSizeIterator<Item = i16>) -> Vec<u8> {
    const LINEAR: u16 = 1;
    const CHANNELS: u16 = 1;
    const SAMPLE_BYTES: u16 = 2;
    let length = samples.len() as u32 * u32::from(SAMPLE_BYTES);
    let mut file = Vec::new();
    file.extend(b"RIFF");
    file.extend((4 + 24 + 8 + length).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(16u32.to_le_bytes());
    file.extend(LINEAR.to_le_bytes());
    file.extend(CHANNELS.to_le_bytes());
    file.extend(RATE.to_le_bytes());
    file.extend((RATE * u32::from(SAMPLE_BYTES)).to_le_bytes());
    file.extend(SAMPLE_BYTES.to_le_bytes());
    file.extend((SAMPLE_BYTES * 8).to_le_bytes());
    file.extend(b"data");
    file.extend(length.to_le_bytes());
    file.extend(samples.flat_map(i16::to_le_bytes));
    file
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
        let audio: Vec<u8> = chirp(300.0, 5).map(a_law).collect();
        let packets: std::collections::HashSet<&[u8]> = audio.chunks(160).collect();
        assert_eq!((audio.len(), packets.len()), (40_000, 250));
    }

    #[test]
    fn a_wav_file_announces_what_it_holds() {
        let file = wav([1, -2, 0x0102].into_iter());
        let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
        assert_eq!((&file[..4], &file[8..16], &file[36..40]), (&b"RIFF"[..], &b"WAVEfmt "[..], &b"data"[..]));
        assert_eq!((word(4) as usize + 8, word(40) as usize + 44), (file.len(), file.len()));
        assert_eq!((word(24), word(28)), (8000, 16_000));
        assert_eq!(file[44..], [1, 0, 0xfe, 0xff, 2, 1]);
    }
}
