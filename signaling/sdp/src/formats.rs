//! Leaves formats out of a description, and puts those that stay in another order.

use crate::Session;
use crate::line::{Span, lines, number, tokens};
use crate::rewrite::Patch;
use crate::session::attribute;

/// Attributes that say something of one payload type, which their value begins with (RFC 8866 section 6.6 and 6.15,
/// RFC 4585 section 4.2).
const OF_A_FORMAT: [&str; 3] = ["rtpmap", "fmtp", "rtcp-fb"];

/// Returns the description with the payload types of `kept`, one list for each section in order: the formats of its `m=`
/// become those of the list that it has, in the list's order, and `a=rtpmap`, `a=fmtp` and `a=rtcp-fb` of others go.
/// Every other byte is kept. A section without a list, or none of whose formats is in it, stays as it is: `m=` cannot do
/// without a format (RFC 8866 section 5.14), so what nothing is left of is refused by its port.
pub fn keep_formats(session: &Session<'_>, kept: &[Option<Vec<u8>>]) -> Vec<u8> {
    let bytes = session.bytes();
    let mut patch = Patch::new(bytes);
    let mut lists = kept.iter();
    let mut list: Option<&[u8]> = None;
    for line in lines(bytes) {
        let Some((letter, value)) = line.field(bytes) else { continue };
        match letter {
            b'm' => {
                list = lists.next().and_then(Option::as_deref);
                let formats: Vec<Span> = tokens(bytes, value).skip(3).collect();
                let wanted = |wanted: &u8| {
                    formats.iter().copied().find(|format| payload_type(format.of(bytes)) == Some(*wanted))
                };
                let stay: Vec<Span> = list.unwrap_or_default().iter().filter_map(wanted).collect();
                match (formats.first(), formats.last()) {
                    (Some(first), Some(last)) if !stay.is_empty() && stay != formats => {
                        let texts: Vec<&[u8]> = stay.iter().map(|format| format.of(bytes)).collect();
                        patch.replace(Span { start: first.start, end: last.end }, texts.join(&b' '));
                    }
                    _ if stay.is_empty() => list = None,
                    _ => {}
                }
            }
            b'a' if list.is_some_and(|list| is_of_another(bytes, value, list)) => patch.replace(line.whole, ""),
            _ => {}
        }
    }
    patch.finish()
}

/// True for an attribute of a payload type that is not in `list`.
fn is_of_another(bytes: &[u8], value: Span, list: &[u8]) -> bool {
    let (name, argument) = attribute(bytes, value);
    if !OF_A_FORMAT.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes())) {
        return false;
    }
    // `a=rtcp-fb:*` is of all of them.
    let format = tokens(bytes, argument).next().and_then(|format| payload_type(format.of(bytes)));
    format.is_some_and(|format| !list.contains(&format))
}

/// The payload type that a format of an RTP section is.
pub(crate) fn payload_type(format: &[u8]) -> Option<u8> {
    number(format).and_then(|number| u8::try_from(number).ok()).filter(|number| *number < 128)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
        m=audio 4000/2 RTP/AVP  0 8\t101 97 \r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:97 iLBC/8000\r\na=fmtp:97 mode=20\r\n\
        a=fmtp: 101 0-16\r\na=rtcp-fb:97 nack\r\na=rtcp-fb:* ccm\r\na=ptime:20\r\n\
        m=video 4002 RTP/AVP 97\r\na=rtpmap:97 H264/90000\r\n";

    fn kept(lists: &[Option<Vec<u8>>]) -> String {
        let session = Session::parse(OFFER.as_bytes()).unwrap();
        String::from_utf8(keep_formats(&session, lists)).unwrap()
    }

    #[test]
    fn formats_go_with_what_is_said_of_them() {
        let expected = OFFER
            .replace("RTP/AVP  0 8\t101 97 \r\n", "RTP/AVP  8 0 101 \r\n")
            .replace("a=rtpmap:97 iLBC/8000\r\na=fmtp:97 mode=20\r\n", "")
            .replace("a=rtcp-fb:97 nack\r\n", "");
        assert_eq!(kept(&[Some(vec![8, 0, 101])]), expected);
        assert_eq!(kept(&[Some(vec![8, 0, 55, 101]), None]), expected, "what is not offered is not added");
    }

    #[test]
    fn what_has_no_list_or_nothing_left_stays_as_it_is() {
        for lists in [&[][..], &[None], &[None, None], &[Some(vec![0, 8, 101, 97])], &[Some(vec![])], &[Some(vec![3])]]
        {
            assert_eq!(kept(lists), OFFER, "{lists:?}");
        }
    }

    #[test]
    fn a_format_that_stands_twice_stays_once() {
        let offer = OFFER.replace("  0 8\t101 97 ", " 8 0 8");
        let session = Session::parse(offer.as_bytes()).unwrap();
        let text = String::from_utf8(keep_formats(&session, &[Some(vec![8])])).unwrap();
        assert!(text.contains("RTP/AVP 8\r\na=rtcp-fb:* ccm\r\n") || text.contains("RTP/AVP 8\r\n"), "{text}");
        assert!(!text.contains("PCMU"), "{text}");
    }
}
