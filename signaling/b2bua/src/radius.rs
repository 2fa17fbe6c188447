//! RADIUS packets (RFC 2865, RFC 2866): a question about digest credentials or an account of a call written, an answer
//! read and proved to come from the server. Who sends them, and again, is somebody else.

mod accounting;
mod cisco;

use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use subtle::ConstantTimeEq;
use thiserror::Error;

use crate::verify::DigestQuestion;

pub use accounting::{Accounting, Status, accounting_answer, accounting_request};
pub use cisco::{Cisco, MAX_VENDOR_VALUE};

/// The longest value of an attribute.
pub const MAX_VALUE: usize = 253;

/// The longest packet (RFC 2865 section 3).
pub const MAX_PACKET: usize = 4096;

/// Code, identifier, length, authenticator.
const HEADER: usize = 20;

const ACCESS_REQUEST: u8 = 1;
const ACCESS_ACCEPT: u8 = 2;
const ACCESS_REJECT: u8 = 3;
const ACCESS_CHALLENGE: u8 = 11;

const USER_NAME: u8 = 1;
const NAS_IDENTIFIER: u8 = 32;
const MESSAGE_AUTHENTICATOR: u8 = 80;

/// A whole Message-Authenticator attribute: type, length, HMAC-MD5.
const MESSAGE_AUTHENTICATOR_LENGTH: u8 = 18;

/// draft-sterman-aaa-sip: the response, and one attribute for each of the others, which holds a type and a length
/// of its own.
const STERMAN_RESPONSE: u8 = 206;
const STERMAN_ATTRIBUTE: u8 = 207;

/// RFC 5090 section 3.
const RFC5090_RESPONSE: u8 = 103;

/// How digest credentials are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// draft-sterman-aaa-sip.
    Sterman,
    /// RFC 5090.
    Rfc5090,
}

/// A value does not fit an attribute, or all of them do not fit a packet: no server could be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("too long for a RADIUS packet")]
pub struct TooLong;

/// What a server answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// Access-Accept.
    Accept,
    /// Access-Reject.
    Reject,
    /// Access-Challenge: it wants more than it was told.
    Challenge,
}

/// Why a datagram is not the answer to the request. It is dropped: anybody can send one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Fault {
    /// It is no RADIUS packet.
    #[error("malformed")]
    Malformed,
    /// It answers another request, or none.
    #[error("not an answer to this request")]
    Other,
    /// Who made it does not know the secret.
    #[error("not authentic")]
    Forged,
    /// A Message-Authenticator is required, and there is none.
    #[error("no Message-Authenticator")]
    Unsigned,
}

/// What makes a request one of its own; it proves the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Tells requests from one port apart.
    pub identifier: u8,
    /// Random and never used again.
    pub authenticator: [u8; 16],
}

/// Writes an Access-Request with digest credentials.
///
/// # Errors
/// If a value does not fit.
pub fn access_request(
    stamp: Stamp,
    secret: &[u8],
    nas_identifier: &str,
    form: Form,
    question: &DigestQuestion,
) -> Result<Vec<u8>, TooLong> {
    let mut packet = Vec::with_capacity(512);
    packet.extend([ACCESS_REQUEST, stamp.identifier, 0, 0]);
    packet.extend(stamp.authenticator);
    // First of all attributes: what stands before it could be chosen so as to forge the answer (CVE-2024-3596).
    attribute(&mut packet, MESSAGE_AUTHENTICATOR, &[0; 16])?;
    attribute(&mut packet, USER_NAME, &question.user)?;
    attribute(&mut packet, NAS_IDENTIFIER, nas_identifier.as_bytes())?;
    match form {
        Form::Sterman => sterman(&mut packet, question)?,
        Form::Rfc5090 => rfc5090(&mut packet, question)?,
    }
    if packet.len() > MAX_PACKET {
        return Err(TooLong);
    }
    let length = u16::try_from(packet.len()).map_err(|_| TooLong)?.to_be_bytes();
    packet[2..4].copy_from_slice(&length);
    let proof = keyed(secret, &[&packet]);
    packet[HEADER + 2..HEADER + usize::from(MESSAGE_AUTHENTICATOR_LENGTH)].copy_from_slice(&proof);
    Ok(packet)
}

fn sterman(packet: &mut Vec<u8>, question: &DigestQuestion) -> Result<(), TooLong> {
    attribute(packet, STERMAN_RESPONSE, &question.response)?;
    let values = [
        (1, Some(&question.realm)),
        (2, Some(&question.nonce)),
        (3, Some(&question.method)),
        (4, Some(&question.uri)),
        (5, question.qop.as_ref()),
        (6, question.algorithm.as_ref()),
        (8, question.cnonce.as_ref()),
        (9, question.nonce_count.as_ref()),
        (10, Some(&question.user)),
    ];
    for (kind, value) in values {
        if let Some(value) = value {
            let mut inner = Vec::with_capacity(value.len() + 2);
            attribute(&mut inner, kind, value)?;
            attribute(packet, STERMAN_ATTRIBUTE, &inner)?;
        }
    }
    Ok(())
}

fn rfc5090(packet: &mut Vec<u8>, question: &DigestQuestion) -> Result<(), TooLong> {
    attribute(packet, RFC5090_RESPONSE, &question.response)?;
    let values = [
        (104, Some(&question.realm)),
        (105, Some(&question.nonce)),
        (108, Some(&question.method)),
        (109, Some(&question.uri)),
        (110, question.qop.as_ref()),
        (111, question.algorithm.as_ref()),
        (113, question.cnonce.as_ref()),
        (114, question.nonce_count.as_ref()),
        (115, Some(&question.user)),
        (116, question.opaque.as_ref()),
    ];
    for (kind, value) in values {
        if let Some(value) = value {
            attribute(packet, kind, value)?;
        }
    }
    Ok(())
}

/// Appends an attribute. One without a value would be malformed (RFC 2865 section 5), so it is left out.
fn attribute(packet: &mut Vec<u8>, kind: u8, value: &[u8]) -> Result<(), TooLong> {
    if value.is_empty() {
        return Ok(());
    }
    if value.len() > MAX_VALUE {
        return Err(TooLong);
    }
    let length = u8::try_from(value.len() + 2).map_err(|_| TooLong)?;
    packet.extend([kind, length]);
    packet.extend(value);
    Ok(())
}

/// Reads the answer to the request with `stamp`.
///
/// # Errors
/// If it is none, or its authenticators do not prove that the server made it (RFC 2865 section 3, RFC 3579
/// section 3.2); `signed` if it must have a Message-Authenticator.
pub fn answer(datagram: &[u8], stamp: Stamp, secret: &[u8], signed: bool) -> Result<Reply, Fault> {
    let [code, identifier, high, low, ..] = *datagram else { return Err(Fault::Malformed) };
    let length = usize::from(u16::from_be_bytes([high, low]));
    // What follows the length that the packet says is padding.
    let packet = datagram.get(..length).filter(|packet| (HEADER..=MAX_PACKET).contains(&packet.len()));
    let packet = packet.ok_or(Fault::Malformed)?;
    let reply = match code {
        ACCESS_ACCEPT => Reply::Accept,
        ACCESS_REJECT => Reply::Reject,
        ACCESS_CHALLENGE => Reply::Challenge,
        _ => return Err(Fault::Other),
    };
    if identifier != stamp.identifier {
        return Err(Fault::Other);
    }
    let (header, attributes) = packet.split_at(HEADER);
    let signature = message_authenticator(attributes)?;
    let mut hash = Md5::new();
    hash.update(&header[..4]);
    hash.update(stamp.authenticator);
    hash.update(attributes);
    hash.update(secret);
    if !bool::from(hash.finalize().as_slice().ct_eq(&header[4..])) {
        return Err(Fault::Forged);
    }
    match signature {
        Some(at) => {
            let (before, rest) = attributes.split_at(at);
            let (found, after) = rest.split_at(16);
            let proof = keyed(secret, &[&header[..4], &stamp.authenticator, before, &[0; 16], after]);
            if bool::from(proof.ct_eq(found)) { Ok(reply) } else { Err(Fault::Forged) }
        }
        None if signed => Err(Fault::Unsigned),
        None => Ok(reply),
    }
}

/// Where the value of the Message-Authenticator begins; there may be one.
fn message_authenticator(attributes: &[u8]) -> Result<Option<usize>, Fault> {
    let mut found = None;
    let mut at = 0;
    while let Some(&kind) = attributes.get(at) {
        let length = attributes.get(at + 1).map(|length| usize::from(*length)).filter(|length| *length >= 2);
        let length = length.filter(|length| at + length <= attributes.len()).ok_or(Fault::Malformed)?;
        if kind == MESSAGE_AUTHENTICATOR {
            if length != usize::from(MESSAGE_AUTHENTICATOR_LENGTH) || found.is_some() {
                return Err(Fault::Malformed);
            }
            found = Some(at + 2);
        }
        at += length;
    }
    Ok(found)
}

/// HMAC-MD5 under the secret (RFC 3579 section 3.2).
fn keyed(secret: &[u8], parts: &[&[u8]]) -> [u8; 16] {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut mac = Hmac::<Md5>::new_from_slice(secret).expect("any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests;
