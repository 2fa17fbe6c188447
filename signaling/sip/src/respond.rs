//! Starting a response from its request (RFC 3261 section 8.2.6, RFC 3581 section 4).

use std::net::SocketAddr;

use crate::header::{NameAddr, Params, Via};
use crate::lexical::{ip_literal, push_crlf, push_line, split_at, trim, trim_end};
use crate::write::push_number;
use crate::{AddressText, HeaderLine, Message, Name, Rport, Writer};

/// Starts a response: the Vias copied, with `received` and `rport` of the topmost filled in from `source`; From,
/// To, Call-ID and CSeq copied byte for byte, a tag added to To if it has none and one is given; in a 100 the
/// Timestamp too. What the request lacks is left out.
pub fn respond(request: Message<'_>, source: SocketAddr, status: u16, reason: &[u8], to_tag: Option<&[u8]>) -> Writer {
    let mut writer = Writer::response(status, reason);
    let mut topmost = true;
    for line in request.lines().filter(|line| line.name == Name::Via) {
        if topmost {
            push_topmost_via(writer.raw(), line.value, source);
            topmost = false;
        } else {
            writer = writer.line(line.raw);
        }
    }
    for line in request.lines() {
        match line.name {
            Name::To => push_to(writer.raw(), line, to_tag),
            Name::From | Name::CallId | Name::CSeq => writer = writer.line(line.raw),
            Name::Timestamp if status == 100 => writer = writer.line(line.raw),
            _ => {}
        }
    }
    writer
}

/// The usual phrase for a status.
pub fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        181 => "Call Is Being Forwarded",
        182 => "Queued",
        183 => "Session Progress",
        199 => "Early Dialog Terminated",
        200 => "OK",
        202 => "Accepted",
        204 => "No Notification",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Moved Temporarily",
        305 => "Use Proxy",
        380 => "Alternative Service",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        410 => "Gone",
        412 => "Conditional Request Failed",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Unsupported URI Scheme",
        417 => "Unknown Resource-Priority",
        420 => "Bad Extension",
        421 => "Extension Required",
        422 => "Session Interval Too Small",
        423 => "Interval Too Brief",
        424 => "Bad Location Information",
        425 => "Bad Alert Message",
        428 => "Use Identity Header",
        429 => "Provide Referrer Identity",
        433 => "Anonymity Disallowed",
        436 => "Bad Identity Info",
        437 => "Unsupported Credential",
        438 => "Invalid Identity Header",
        439 => "First Hop Lacks Outbound Support",
        440 => "Max-Breadth Exceeded",
        469 => "Bad Info Package",
        470 => "Consent Needed",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        482 => "Loop Detected",
        483 => "Too Many Hops",
        484 => "Address Incomplete",
        485 => "Ambiguous",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        489 => "Bad Event",
        491 => "Request Pending",
        493 => "Undecipherable",
        494 => "Security Agreement Required",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Server Time-out",
        505 => "Version Not Supported",
        513 => "Message Too Large",
        580 => "Precondition Failure",
        600 => "Busy Everywhere",
        603 => "Decline",
        604 => "Does Not Exist Anywhere",
        606 => "Not Acceptable",
        607 => "Unwanted",
        608 => "Rejected",
        _ => match status / 100 {
            1 => "Progress",
            2 => "Success",
            3 => "Redirection",
            4 => "Request Failure",
            5 => "Server Failure",
            _ => "Global Failure",
        },
    }
}

/// A `received` that the request already claims is not believed: it is left out, and the truth added if it is due.
fn push_topmost_via(out: &mut Vec<u8>, values: &[u8], source: SocketAddr) {
    let address = source.ip().to_canonical();
    let (topmost, others) = split_at(values, b',');
    out.extend_from_slice(b"Via: ");
    match Via::parse(topmost) {
        Ok(via) => {
            let topmost = trim(topmost);
            push_crlf(out, trim_end(&topmost[..topmost.len() - via.params.len()]));
            let filled = |name: &[u8]| name.eq_ignore_ascii_case(b"received") || name.eq_ignore_ascii_case(b"rport");
            for (name, value) in Params::new(via.params).filter(|(name, _)| !filled(name)) {
                out.push(b';');
                out.extend_from_slice(name);
                if let Some(value) = value {
                    out.push(b'=');
                    push_crlf(out, value);
                }
            }
            let asked = via.rport != Rport::Absent;
            if asked || ip_literal(via.host) != Some(address) {
                out.extend_from_slice(b";received=");
                out.extend_from_slice(AddressText::from(address).as_bytes());
            }
            if asked {
                out.extend_from_slice(b";rport=");
                push_number(out, usize::from(source.port()));
            }
        }
        Err(_) => push_crlf(out, topmost),
    }
    if let Some(others) = others {
        out.push(b',');
        push_crlf(out, others);
    }
    out.extend_from_slice(b"\r\n");
}

fn push_to(out: &mut Vec<u8>, line: HeaderLine<'_>, tag: Option<&[u8]>) {
    push_crlf(out, trim_end(line.raw));
    match tag {
        Some(tag) if NameAddr::parse(line.value).is_ok_and(|to| to.tag().is_none()) => {
            out.extend_from_slice(b";tag=");
            push_line(out, tag);
        }
        _ => {}
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Index, Method};

    fn request(via: &str, to: &str) -> Vec<u8> {
        Writer::request(Method::Invite, b"sip:b@192.0.2.2")
            .header("v", via)
            .header("Max-Forwards", "70")
            .header("From", "<sip:a@192.0.2.1>;tag=a")
            .header("To", to)
            .header("i", "call")
            .header("Via", "SIP/2.0/UDP 192.0.2.8;branch=z9hG4bKthree")
            .header("CSeq", "1  INVITE")
            .header("Timestamp", "54")
            .finish(b"body")
    }

    /// The response as lines.
    fn answered(request: &[u8], source: &str, status: u16, tag: Option<&[u8]>) -> Vec<String> {
        let mut index = Index::new();
        let request = index.parse(request).unwrap();
        let response = respond(request, source.parse().unwrap(), status, b"Fine", tag).finish(b"");
        let text = String::from_utf8(response).unwrap();
        text.split("\r\n").map(str::to_owned).collect()
    }

    #[test]
    fn a_response_copies_what_it_must() {
        let request = request("SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKone, SIP/2.0/TCP x;branch=z9hG4bKtwo", "sip:b@x");
        let lines = answered(&request, "192.0.2.1:5060", 180, Some(b"new"));
        assert_eq!(
            lines[..3],
            [
                "SIP/2.0 180 Fine",
                "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKone, SIP/2.0/TCP x;branch=z9hG4bKtwo",
                "Via: SIP/2.0/UDP 192.0.2.8;branch=z9hG4bKthree",
            ]
        );
        for line in ["From: <sip:a@192.0.2.1>;tag=a", "To: sip:b@x;tag=new", "i: call", "CSeq: 1  INVITE"] {
            assert!(lines.iter().any(|found| found == line), "{line} is not in {lines:#?}");
        }
        assert!(!lines.iter().any(|line| line.starts_with("Max-Forwards") || line.starts_with("Timestamp")));
    }

    #[test]
    fn a_100_takes_the_timestamp_along() {
        let request = request("SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKone", "sip:b@x");
        assert!(answered(&request, "192.0.2.1:5060", 100, None).contains(&"Timestamp: 54".to_owned()));
    }

    #[test]
    fn folds_that_ended_in_lf_alone_end_in_crlf() {
        let request =
            b"INVITE sip:b@x SIP/2.0\nVia: SIP/2.0/UDP\n 192.0.2.1;branch=z9hG4bKone;x=\"a\n b\",\n SIP/2.0/UDP p\n\
            From: <sip:a@x>\n ;tag=a\nTo:\n <sip:b@x>\nCall-ID: call\nCSeq: 1\n INVITE\n\n";
        let text = answered(request, "192.0.2.1:5060", 180, Some(b"new")).concat();
        assert!(!text.contains(['\r', '\n']), "{text:?}");
    }

    #[test]
    fn a_tag_that_is_there_stays() {
        let request = request("SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKone", "<sip:b@x>;tag=old");
        let lines = answered(&request, "192.0.2.1:5060", 200, Some(b"new"));
        assert!(lines.contains(&"To: <sip:b@x>;tag=old".to_owned()));
    }

    #[test]
    fn the_topmost_via_learns_where_the_request_came_from() {
        let via = |via: &str, source: &str| answered(&request(via, "sip:b@x"), source, 200, None)[1].clone();
        assert_eq!(
            via("SIP/2.0/UDP 10.0.0.1:5060;rport;branch=z9hG4bKone", "192.0.2.1:4096"),
            "Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKone;received=192.0.2.1;rport=4096"
        );
        assert_eq!(
            via("SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKone;rport", "192.0.2.1:5060"),
            "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKone;received=192.0.2.1;rport=5060"
        );
        assert_eq!(
            via("SIP/2.0/UDP a.example ; branch=z9hG4bKone;received=203.0.113.9", "[2001:db8::1]:5060"),
            "Via: SIP/2.0/UDP a.example;branch=z9hG4bKone;received=2001:db8::1",
            "what the sender claims is not believed"
        );
        assert_eq!(
            via("SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKone", "[::ffff:192.0.2.1]:5060"),
            "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKone",
            "an IPv4 address that a dual-stack socket saw is the same"
        );
    }

    #[test]
    fn every_status_has_a_phrase() {
        for status in 100..700 {
            assert!(!reason_phrase(status).is_empty());
        }
    }
}
