//! TCP segments put together, and cut into SIP messages.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use moorline_sip::{Frame, Framer};

/// A TCP segment of a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment<'a> {
    /// When it was captured, since 1970.
    pub at_ns: u64,
    /// The sender.
    pub source: SocketAddr,
    /// The receiver.
    pub destination: SocketAddr,
    /// The place of the first byte in the stream.
    pub sequence: u32,
    /// The first segment of its direction.
    pub opens: bool,
    /// What was sent.
    pub payload: &'a [u8],
}

/// A SIP message that came over TCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StreamMessage {
    /// When its last byte was captured.
    pub(super) at_ns: u64,
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    pub(super) bytes: Vec<u8>,
}

/// The SIP messages of all streams, and how many streams have a hole. A stream that is not SIP, TLS for instance,
/// has no messages.
pub(super) fn messages(segments: &[Segment<'_>]) -> (Vec<StreamMessage>, u64) {
    let mut found = Vec::new();
    let mut holes = 0;
    let mut streams: HashMap<(SocketAddr, SocketAddr), Stream<'_>> = HashMap::new();
    for segment in segments {
        let key = (segment.source, segment.destination);
        if segment.opens {
            // SYN takes a place in the stream (RFC 9293 section 3.4).
            let opened = Stream { next: segment.sequence.wrapping_add(1), ..Stream::default() };
            let before = streams.insert(key, opened).is_some_and(|before| !before.early.is_empty());
            holes += u64::from(before);
        } else if !segment.payload.is_empty() {
            let begun = || Stream { next: segment.sequence, ..Stream::default() };
            streams.entry(key).or_insert_with(begun).take(segment, &mut found);
        }
    }
    holes += streams.values().filter(|stream| !stream.early.is_empty()).count() as u64;
    (found, holes)
}

/// One direction of a connection.
#[derive(Default)]
struct Stream<'a> {
    /// The place of the byte that is due.
    next: u32,
    /// What was captured before what it follows.
    early: BTreeMap<u32, Segment<'a>>,
    framer: Framer,
}

impl<'a> Stream<'a> {
    fn take(&mut self, segment: &Segment<'a>, found: &mut Vec<StreamMessage>) {
        self.early.insert(segment.sequence, *segment);
        loop {
            // Places are compared by their distance: they wrap around.
            let is_due = |place: &u32| self.next.wrapping_sub(*place) < u32::MAX / 2;
            let Some(place) = self.early.keys().copied().find(is_due) else { return };
            let Some(segment) = self.early.remove(&place) else { return };
            let known = self.next.wrapping_sub(place) as usize;
            let Some(mut fresh) = segment.payload.get(known..).filter(|fresh| !fresh.is_empty()) else { continue };
            self.next = self.next.wrapping_add(fresh.len() as u32);
            while let Ok(Some(frame)) = self.framer.next(&mut fresh) {
                if let Frame::Message(bytes) = frame {
                    let Segment { at_ns, source, destination, .. } = segment;
                    found.push(StreamMessage { at_ns, source, destination, bytes: bytes.to_vec() });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGES: [&[u8]; 2] =
        [b"OPTIONS sip:a@b SIP/2.0\r\nl: 2\r\n\r\nhi", b"SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"];

    fn segment(at_ns: u64, sequence: u32, opens: bool, payload: &[u8]) -> Segment<'_> {
        let (source, destination) = ("192.0.2.10:4000".parse().unwrap(), "192.0.2.1:5060".parse().unwrap());
        Segment { at_ns, source, destination, sequence, opens, payload }
    }

    /// Both messages in segments of some length, from a place just before the numbers wrap around.
    fn segments(bytes: &[u8], length: usize) -> Vec<Segment<'_>> {
        const FIRST: u32 = u32::MAX - 20;
        let mut all = vec![segment(0, FIRST, true, b"")];
        for (index, chunk) in bytes.chunks(length).enumerate() {
            let place = FIRST.wrapping_add(1 + (index * length) as u32);
            all.push(segment(index as u64 + 1, place, false, chunk));
        }
        all
    }

    fn found(segments: &[Segment<'_>]) -> (Vec<Vec<u8>>, u64) {
        let (messages, holes) = messages(segments);
        (messages.into_iter().map(|message| message.bytes).collect(), holes)
    }

    #[test]
    fn messages_are_found_however_they_are_cut() {
        let bytes = MESSAGES.concat();
        for length in 1..=bytes.len() {
            assert_eq!(found(&segments(&bytes, length)), (MESSAGES.map(<[u8]>::to_vec).to_vec(), 0), "{length}");
        }
    }

    #[test]
    fn segments_come_twice_and_in_any_order() {
        let bytes = MESSAGES.concat();
        let mut mixed = segments(&bytes, 10);
        mixed[1..].reverse();
        mixed.extend_from_within(2..4);
        assert_eq!(found(&mixed), (MESSAGES.map(<[u8]>::to_vec).to_vec(), 0));
    }

    #[test]
    fn a_hole_is_told() {
        let bytes = MESSAGES.concat();
        let mut holed = segments(&bytes, 10);
        holed.remove(2);
        assert_eq!(found(&holed), (vec![], 1));
    }

    /// The port is used for another connection later.
    #[test]
    fn a_connection_begins_anew() {
        let [first, second] = MESSAGES;
        let mut both = segments(first, 100);
        both.extend([segment(9, 7, true, b""), segment(9, 8, false, second)]);
        assert_eq!(found(&both), (MESSAGES.map(<[u8]>::to_vec).to_vec(), 0));
    }

    #[test]
    fn what_is_not_sip_has_no_messages() {
        assert_eq!(found(&segments(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 100)), (vec![], 0));
    }
}
