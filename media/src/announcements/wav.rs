//! WAV files (RIFF): chunks of a name, a length and that many bytes. What is played is in `data`, what it means in
//! `fmt `; others are passed over.

/// The sound of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sound<'a> {
    /// 16-bit samples.
    Linear(Vec<i16>),
    /// G.711 octets by the A-law.
    Pcma(&'a [u8]),
    /// G.711 octets by the µ-law.
    Pcmu(&'a [u8]),
}

/// Why a file cannot be played.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WavError {
    /// It is none.
    #[error("not a WAV file")]
    NotWav,
    /// It ends in the middle of a chunk.
    #[error("cut off: a chunk of {0} bytes is not whole")]
    Cut(u32),
    /// It says nothing of its format before its sound, or has no sound.
    #[error("no sound, or no format before it")]
    Incomplete,
    /// It is not at 8 kHz.
    #[error("{0} samples a second, and telephone speech has 8000")]
    Rate(u32),
    /// It has several channels.
    #[error("{0} channels, and one is played")]
    Channels(u16),
    /// It is in a format that is not known here.
    #[error("format {tag} with {bits} bits, and 16-bit PCM (1), A-law (6) and µ-law (7) are played")]
    Format {
        /// The number of the format.
        tag: u16,
        /// The bits of a sample.
        bits: u16,
    },
}

const PCM: u16 = 1;
const PCMA: u16 = 6;
const PCMU: u16 = 7;
/// The format is in the first two bytes of a longer number.
const EXTENSIBLE: u16 = 0xfffe;
const RATE: u32 = 8_000;

/// Reads a file.
pub(super) fn read(bytes: &[u8]) -> Result<Sound<'_>, WavError> {
    let (Some(b"RIFF"), Some(b"WAVE")) = (bytes.get(..4), bytes.get(8..12)) else { return Err(WavError::NotWav) };
    let mut rest = bytes.get(12..).unwrap_or_default();
    let mut format = None;
    while let Some((head, body)) = rest.split_first_chunk::<8>() {
        let [a, b, c, d, length @ ..] = *head;
        let length = u32::from_le_bytes(length);
        let chunk = body.get(..length as usize).ok_or(WavError::Cut(length))?;
        match &[a, b, c, d] {
            b"fmt " => format = Some(read_format(chunk)?),
            b"data" => return format.map(|format| sound(format, chunk)).ok_or(WavError::Incomplete),
            _ => {}
        }
        // A chunk of odd length is followed by a byte that belongs to none.
        rest = body.get(length as usize + (length as usize & 1)..).unwrap_or_default();
    }
    Err(WavError::Incomplete)
}

/// What the `fmt ` chunk says: the format, where it can be played.
fn read_format(chunk: &[u8]) -> Result<u16, WavError> {
    let word = |at: usize| Some(u16::from_le_bytes(*chunk.get(at..)?.first_chunk()?));
    let (tag, channels, bits) = match (word(0), word(2), word(14)) {
        (Some(tag), Some(channels), Some(bits)) => (tag, channels, bits),
        _ => return Err(WavError::Incomplete),
    };
    let rate = chunk.get(4..).and_then(|rest| rest.first_chunk()).map_or(0, |rate| u32::from_le_bytes(*rate));
    let tag = if tag == EXTENSIBLE { word(24).unwrap_or(tag) } else { tag };
    if !matches!((tag, bits), (PCM, 16) | (PCMA | PCMU, 8)) {
        return Err(WavError::Format { tag, bits });
    }
    if rate != RATE {
        return Err(WavError::Rate(rate));
    }
    if channels != 1 {
        return Err(WavError::Channels(channels));
    }
    Ok(tag)
}

fn sound(format: u16, data: &[u8]) -> Sound<'_> {
    match format {
        PCMA => Sound::Pcma(data),
        PCMU => Sound::Pcmu(data),
        _ => Sound::Linear(data.as_chunks::<2>().0.iter().map(|sample| i16::from_le_bytes(*sample)).collect()),
    }
}
