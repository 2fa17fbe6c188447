use super::*;

/// A frame that can be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kept {
    Message(Vec<u8>),
    Ping,
    Pong,
}

fn feed(framer: &mut Framer, mut chunk: &[u8], frames: &mut Vec<Kept>) -> Result<(), FramingError> {
    while let Some(frame) = framer.next(&mut chunk)? {
        frames.push(match frame {
            Frame::Message(bytes) => Kept::Message(bytes.to_vec()),
            Frame::Ping => Kept::Ping,
            Frame::Pong => Kept::Pong,
        });
    }
    assert!(chunk.is_empty(), "all is taken");
    Ok(())
}

/// What a stream holds when it comes in chunks of a length.
fn frames(stream: &[u8], chunk: usize) -> (Vec<Kept>, Option<FramingError>) {
    let mut framer = Framer::new();
    let mut found = Vec::new();
    let result = stream.chunks(chunk).try_for_each(|chunk| feed(&mut framer, chunk, &mut found));
    (found, result.err())
}

fn message(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("MESSAGE sip:a@b SIP/2.0\r\nVia: x\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

fn kept(bytes: &[u8]) -> Kept {
    Kept::Message(bytes.to_vec())
}

fn error(stream: &[u8]) -> Option<FramingError> {
    let whole = frames(stream, usize::MAX);
    assert_eq!(frames(stream, 1), whole, "byte by byte it is the same");
    whole.1
}

#[test]
fn glued_and_split_messages_come_one_by_one() {
    let compact = b"SIP/2.0 200 OK\nX: 1\nl :\n 3\n\nabc";
    let equal = b"BYE sip:a@b SIP/2.0\r\nl: 0\r\nContent-Length: 00\r\n\r\n";
    let stream =
        [&message("one")[..], &message(""), compact, b"\r\n", equal, b"\r\n\r\n", &message("\r\n\r\n")].concat();
    let expected =
        [kept(&message("one")), kept(&message("")), kept(compact), kept(equal), Kept::Ping, kept(&message("\r\n\r\n"))];
    for chunk in 1..=stream.len() {
        assert_eq!(frames(&stream, chunk), (expected.to_vec(), None), "in chunks of {chunk}");
    }
}

#[test]
fn pings_are_told_and_single_line_ends_are_not() {
    assert_eq!(frames(b"\r\n", 1).0, []);
    assert_eq!(frames(b"\r\n\r\n", 1).0, [Kept::Ping]);
    assert_eq!(frames(b"\r\n\r\n\r\n\r\n\r\n", 2).0, [Kept::Ping, Kept::Ping]);
    let stream = [b"\r\n", &message("")[..], b"\r\n", &message("")[..]].concat();
    assert_eq!(frames(&stream, 7).0, [kept(&message("")), kept(&message(""))]);
}

#[test]
fn a_pong_is_told_when_one_is_due() {
    let mut framer = Framer::new();
    let mut found = Vec::new();
    framer.expect_pong();
    feed(&mut framer, b"\r", &mut found).unwrap();
    feed(&mut framer, b"\n", &mut found).unwrap();
    feed(&mut framer, b"\r\n\r\n", &mut found).unwrap();
    framer.expect_pong();
    framer.expect_pong();
    feed(&mut framer, b"\r\n\r\n", &mut found).unwrap();
    assert_eq!(found, [Kept::Pong, Kept::Ping, Kept::Pong, Kept::Pong]);
}

#[test]
fn a_message_that_is_whole_is_not_copied() {
    let bytes = [&message("one")[..], &message("two")].concat();
    let mut rest = &bytes[..];
    let mut framer = Framer::new();
    for _ in 0..2 {
        let Some(Frame::Message(message)) = framer.next(&mut rest).unwrap() else { panic!("a message is there") };
        assert!(bytes.as_ptr_range().contains(&message.as_ptr()));
    }
    assert_eq!(framer.partial.capacity(), 0);
}

#[test]
fn memory_is_released_with_the_message() {
    let bytes = message(&"x".repeat(60_000));
    let mut framer = Framer::new();
    let mut found = Vec::new();
    let (first, second) = bytes.split_at(50_000);
    feed(&mut framer, first, &mut found).unwrap();
    assert!(!framer.is_idle());
    assert_eq!(framer.buffered(), 50_000);
    feed(&mut framer, second, &mut found).unwrap();
    assert_eq!(found, [kept(&bytes)]);
    assert!(framer.is_idle());
    assert_eq!((framer.buffered(), framer.partial.capacity()), (0, 0));
}

#[test]
fn what_is_announced_costs_nothing() {
    let mut framer = Framer::new();
    feed(&mut framer, b"MESSAGE sip:a@b SIP/2.0\r\nl: 65000\r\n\r\n", &mut Vec::new()).unwrap();
    assert!(framer.partial.capacity() < 256);
}

#[test]
fn what_ends_a_connection() {
    let with = |lines: &str| error(format!("BYE sip:a@b SIP/2.0\r\nX: 1\r\n{lines}\r\n").as_bytes());
    assert_eq!(with("l: 0\r\n"), None);
    assert_eq!(with(""), Some(FramingError::NoContentLength));
    assert_eq!(with("Content-Lengths: 0\r\n"), Some(FramingError::NoContentLength));
    assert_eq!(with("X:\r\n Content-Length: 0\r\n"), Some(FramingError::NoContentLength), "a fold is no header field");
    assert_eq!(with("Content-Length: 1\r\nl: 0\r\n"), Some(FramingError::ContentLengthConflict));
    for value in ["-1", "", "five", "1 1", "0x4", "99999999999"] {
        assert_eq!(with(&format!("Content-Length: {value}\r\n")), Some(FramingError::ContentLength), "{value}");
    }
    for value in ["65536", "65535", "9999999999"] {
        assert_eq!(with(&format!("Content-Length: {value}\r\n")), Some(FramingError::TooLong), "{value}");
    }
    for garbage in [&b"\x16\x03\x01\x02\x00"[..], b"\0\0\0\0", b"GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"] {
        assert_eq!(error(garbage), Some(FramingError::Garbage));
    }
}

#[test]
fn a_header_section_without_end_is_bounded() {
    let endless = [b"BYE sip:a@b SIP/2.0\r\nX: ", &vec![b'x'; MAX_MESSAGE_BYTES][..]].concat();
    for chunk in [1, 1_000, usize::MAX] {
        assert_eq!(frames(&endless, chunk), (vec![], Some(FramingError::HeaderTooLong)));
    }
    assert_eq!(frames(&endless[..MAX_MESSAGE_BYTES - 1], 999), (vec![], None));
}

#[test]
fn the_longest_message_passes() {
    let head = message("").len() + 4;
    let bytes = message(&"x".repeat(MAX_MESSAGE_BYTES - head));
    assert_eq!(bytes.len(), MAX_MESSAGE_BYTES);
    for chunk in [1_460, usize::MAX] {
        assert_eq!(frames(&[&bytes[..], &bytes].concat(), chunk).0, [kept(&bytes), kept(&bytes)]);
    }
    let longer = message(&"x".repeat(MAX_MESSAGE_BYTES - head + 1));
    assert_eq!(frames(&longer, 1_460), (vec![], Some(FramingError::TooLong)));
}

#[test]
fn after_an_error_nothing_is_read() {
    let mut framer = Framer::new();
    let mut rest = &b"\xff"[..];
    assert_eq!(framer.next(&mut rest), Err(FramingError::Garbage));
    let good = message("");
    assert_eq!(framer.next(&mut &good[..]), Err(FramingError::Garbage));
    assert_eq!(framer.buffered(), 0);
}
