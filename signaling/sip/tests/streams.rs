//! Properties of cutting a byte stream into messages, however it is chunked.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use moorline_sip::{Frame, Framer, FramingError, Index, ParseErrorKind};
use proptest::prelude::*;

/// Frames as text, so that they can be compared: a message in full, or what a keep-alive is.
fn frames<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, Option<FramingError>) {
    let mut framer = Framer::new();
    let mut found = Vec::new();
    for mut chunk in chunks {
        loop {
            match framer.next(&mut chunk) {
                Ok(Some(Frame::Message(bytes))) => found.push(bytes.to_vec()),
                Ok(Some(Frame::Ping)) => found.push(b"ping".to_vec()),
                Ok(Some(Frame::Pong)) => found.push(b"pong".to_vec()),
                Ok(None) => break,
                Err(error) => return (found, Some(error)),
            }
        }
    }
    (found, None)
}

/// The stream cut at these places.
fn cut<'a>(stream: &'a [u8], places: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<_> = places.iter().map(|place| place.index(stream.len() + 1)).collect();
    at.extend([0, stream.len()]);
    at.sort_unstable();
    at.windows(2).map(|ends| &stream[ends[0]..ends[1]]).collect()
}

fn places() -> impl Strategy<Value = Vec<prop::sample::Index>> {
    prop::collection::vec(any::<prop::sample::Index>(), 0..12)
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    let end = prop::sample::select(vec!["\r\n", "\n"]);
    let name =
        prop::sample::select(vec!["Content-Length:", "l:", "L :", "content-length:\r\n ", "CONTENT-LENGTH \t: 0"]);
    let body = prop::collection::vec(any::<u8>(), 0..80);
    (end, name, prop::collection::vec("[A-Za-z]{1,6}: ?[ -~]{0,20}", 0..5), body).prop_map(
        |(end, name, headers, body)| {
            let known = ["l", "content-length"];
            let mut head = format!("MESSAGE sip:a@b SIP/2.0{end}");
            for header in headers
                .iter()
                .filter(|header| !known.contains(&&*header.split(':').next().unwrap().to_ascii_lowercase()))
            {
                head += &format!("{header}{end}");
            }
            head += &format!("{name} {}{end}{end}", body.len());
            // A value that starts with a digit of its own is one number.
            let head = head.replace(": 0 ", ": 0");
            [head.as_bytes(), &body].concat()
        },
    )
}

/// Pieces of streams, good and bad ones.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => message(),
        2 => prop::sample::select(vec![&b"\r\n"[..], b"\r\n\r\n", b"\n", b"\r"]).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..30),
        1 => prop::collection::vec(prop::sample::select(b"\r\n :lL1-SIP/2.0 ".to_vec()), 0..60),
    ]
}

proptest! {
    #[test]
    fn messages_come_out_as_they_went_in(messages in prop::collection::vec(message(), 0..6), places in places()) {
        let stream = messages.concat();
        prop_assert_eq!(frames(cut(&stream, &places)), (messages, None));
    }

    #[test]
    fn chunks_do_not_matter(pieces in prop::collection::vec(piece(), 0..6), places in places()) {
        let stream = pieces.concat();
        let whole = frames([&stream[..]]);
        prop_assert_eq!(frames(cut(&stream, &places)), whole.clone());
        prop_assert_eq!(frames(stream.chunks(1)), whole);
    }

    /// Framer and parser agree where a message ends, or one could be hidden in another.
    #[test]
    fn a_frame_is_one_message_to_the_parser(pieces in prop::collection::vec(piece(), 0..6)) {
        let mut index = Index::new();
        for frame in frames([&pieces.concat()[..]]).0.iter().filter(|frame| !frame.starts_with(b"p")) {
            match index.parse(frame) {
                Ok(message) => prop_assert_eq!(message.bytes(), &frame[..]),
                Err(error) => prop_assert!(matches!(error.kind, ParseErrorKind::Status | ParseErrorKind::TooManyHeaders)),
            }
        }
    }
}
