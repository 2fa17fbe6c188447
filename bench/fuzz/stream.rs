//! Any bytes on a connection: cut into the same frames in whatever chunks they come, and each message one to the parser.
#![no_main]

use libfuzzer_sys::fuzz_target;
use moorline_sip::{Frame, Framer, FramingError, Index, ParseErrorKind};

fuzz_target!(|bytes: &[u8]| {
    let Some((chunk, stream)) = bytes.split_first() else { return };
    let whole = frames(stream, usize::MAX);
    assert_eq!(frames(stream, usize::from(*chunk) + 1), whole, "chunks do not matter");

    let mut index = Index::new();
    for message in whole.0.iter().flatten() {
        match index.parse(message) {
            Ok(parsed) => assert_eq!(parsed.bytes(), message, "framer and parser agree where a message ends"),
            Err(error) => assert!(matches!(error.kind, ParseErrorKind::Status | ParseErrorKind::TooManyHeaders)),
        }
    }
});

/// The messages of a stream; `None` for a keep-alive.
fn frames(stream: &[u8], chunk: usize) -> (Vec<Option<Vec<u8>>>, Option<FramingError>) {
    let mut framer = Framer::new();
    let mut found = Vec::new();
    for mut rest in stream.chunks(chunk) {
        loop {
            match framer.next(&mut rest) {
                Ok(Some(Frame::Message(message))) => found.push(Some(message.to_vec())),
                Ok(Some(Frame::Ping | Frame::Pong)) => found.push(None),
                Ok(None) => break,
                Err(error) => return (found, Some(error)),
            }
        }
    }
    (found, None)
}
