//! Frame bodies to bytes and back. The length prefix is the connection's business.

use minicbor::{Decode, Encode};

use crate::{MAX_FRAME, Refusal, RefusalCode};

/// Encodes a frame body.
///
/// # Errors
/// [`RefusalCode::Unacceptable`] if the body would be longer than [`MAX_FRAME`]: nothing is sent then.
pub fn encode<T: Encode<()>>(frame: &T) -> Result<Vec<u8>, Refusal> {
    let mut body = Vec::with_capacity(256);
    append(frame, &mut body)?;
    Ok(body)
}

/// Encodes a frame body behind what `buffer` holds.
///
/// # Errors
/// As [`encode`]; the buffer is as it was then.
pub fn append<T: Encode<()>>(frame: &T, buffer: &mut Vec<u8>) -> Result<(), Refusal> {
    let start = buffer.len();
    // Writing into a Vec cannot fail; an error here is an encoder's own refusal.
    let encoded = minicbor::encode(frame, &mut *buffer).map_err(|e| e.to_string());
    let length = buffer.len() - start;
    let appended = match encoded {
        Ok(()) if length > MAX_FRAME => Err(format!("a frame of {length} bytes, {MAX_FRAME} at most")),
        other => other,
    };
    appended.map_err(|detail| {
        buffer.truncate(start);
        Refusal::new(RefusalCode::Unacceptable, detail)
    })
}

/// Decodes a frame body. Trailing bytes are refused: they mean that the peers disagree on the frame.
///
/// # Errors
/// [`RefusalCode::Malformed`] for anything that is not exactly one `T`.
pub fn decode<'b, T: Decode<'b, ()>>(body: &'b [u8]) -> Result<T, Refusal> {
    let mut decoder = minicbor::Decoder::new(body);
    let frame = decoder.decode().map_err(|e| Refusal::new(RefusalCode::Malformed, e.to_string()))?;
    if decoder.position() != body.len() {
        let rest = body.len() - decoder.position();
        return Err(Refusal::new(RefusalCode::Malformed, format!("{rest} bytes after the frame")));
    }
    Ok(frame)
}
