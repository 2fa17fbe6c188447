//! Starting a response from its request (RFC 3261 section 8.2.6, RFC 3581 section 4).

use std::io::Write as _;
use std::net::SocketAddr;

use crate::header::{NameAddr, Params, Via};
use crate::lexical::{ip_literal, push_line, split_at, trim, trim_end};
use crate::write::push_number;
use crate::{HeaderLine, Message, Name, Rport, Writer};

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
            out.extend_from_slice(trim_end(&topmost[..topmost.len() - via.params.len()]));
            let filled = |name: &[u8]| name.eq_ignore_ascii_case(b"received") || name.eq_ignore_ascii_case(b"rport");
            for (name, value) in Params::new(via.params).filter(|(name, _)| !filled(name)) {
                out.push(b';');
                out.extend_from_slice(name);
                if let Some(value) = value {
                    out.push(b'=');
                    out.extend_from_slice(value);
                }
            }
            let asked = via.rport != Rport::Absent;
            if asked || ip_literal(via.host) != Some(address) {
                // Writing to a vector does not fail.
                let _ = write!(out, ";received={address}");
            }
            if asked {
                out.extend_from_slice(b";rport=");
                push_number(out, usize::from(source.port()));
            }
        }
        Err(_) => out.extend_from_slice(topmost),
    }
    if let Some(others) = others {
        out.push(b',');
        out.extend_from_slice(others);
    }
    out.extend_from_slice(b"\r\n");
}

fn push_to(out: &mut Vec<u8>, line: HeaderLine<'_>, tag: Option<&[u8]>) {
    out.extend_from_slice(trim_end(line.raw));
    match tag {
        Some(tag) if NameAddr::parse(line.value).is_ok_and(|to| to.tag().is_none()) => {
            out.extend_from_slice(b";tag=");
            push_line(out, tag);
        }
        _ => {}
    }
    out.extend_from_slice(b"\r\n");
}
