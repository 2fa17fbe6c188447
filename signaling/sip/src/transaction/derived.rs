//! Requests that a client transaction makes of its INVITE: the ACK to a failure and the CANCEL.

use crate::lexical::{split_at, trim};
use crate::{Message, Method, Name, Writer};

/// The ACK to a failure: hop by hop, on the same branch, with the Route of the INVITE and the To of the response
/// (RFC 3261 section 17.1.1.3).
pub(crate) fn ack(invite: Message<'_>, response: Message<'_>) -> Vec<u8> {
    derive(invite, Method::Ack, response.header(Name::To).unwrap_or_default()).finish(b"")
}

/// The CANCEL of an INVITE: on the same branch, with its Route (RFC 3261 section 9.1), and a Reason (RFC 3326) if
/// one is given.
pub(crate) fn cancel(invite: Message<'_>, reason: Option<&[u8]>) -> Vec<u8> {
    let writer = derive(invite, Method::Cancel, invite.header(Name::To).unwrap_or_default());
    match reason {
        Some(reason) => writer.header("Reason", reason),
        None => writer,
    }
    .finish(b"")
}

fn derive(invite: Message<'_>, method: Method<'_>, to: &[u8]) -> Writer {
    let via = invite.header(Name::Via).map_or(&b""[..], |values| trim(split_at(values, b',').0));
    let mut writer = Writer::request(method, invite.request_uri().unwrap_or_default()).header("Via", via);
    for line in invite.lines() {
        match line.name {
            Name::Route | Name::From | Name::CallId => writer = writer.line(line.raw),
            _ => {}
        }
    }
    let number = invite.cseq().map_or(0, |cseq| cseq.number);
    writer
        .header("To", to)
        .header("CSeq", [number.to_string().as_bytes(), b" ", method.as_bytes()].concat())
        .header("Max-Forwards", "70")
}
