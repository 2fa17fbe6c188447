//! RADIUS accounting (RFC 2866): requests written, and answers proved.

use md5::{Digest, Md5};
use subtle::ConstantTimeEq;

use super::cisco::{self, Cisco};
use super::{Fault, HEADER, MAX_PACKET, NAS_IDENTIFIER, TooLong, USER_NAME, attribute};

const ACCOUNTING_REQUEST: u8 = 4;
const ACCOUNTING_RESPONSE: u8 = 5;

/// What of a session is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It begins.
    Start = 1,
    /// It is over.
    Stop = 2,
    /// It goes on.
    Interim = 3,
}

/// What a server is told. Texts are 253 bytes at most, empty where there is nothing to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accounting {
    /// Acct-Status-Type.
    pub status: Status,
    /// Acct-Session-Id: the same for all that is told of one session, and for no other.
    pub session: Vec<u8>,
    /// Acct-Multi-Session-Id.
    pub call: Vec<u8>,
    /// User-Name.
    pub user: Vec<u8>,
    /// NAS-Identifier.
    pub nas_identifier: Vec<u8>,
    /// Called-Station-Id.
    pub called: Vec<u8>,
    /// Calling-Station-Id.
    pub calling: Vec<u8>,
    /// Acct-Session-Time.
    pub seconds: u32,
    /// Bytes from the user, and to it.
    pub octets: [u64; 2],
    /// Packets from the user, and to it.
    pub packets: [u64; 2],
    /// Event-Timestamp: when it was so.
    pub at_unix_s: u32,
    /// Connect-Info.
    pub connection: Vec<u8>,
    /// Acct-Terminate-Cause, of a stop.
    pub terminate_cause: u32,
    /// What else there is to say, in values of 1 to 247 bytes. Of those that do not all fit the longest are left out.
    pub cisco: Vec<(Cisco, Vec<u8>)>,
}

/// Writes an Accounting-Request.
///
/// # Errors
/// If a value does not fit.
pub fn accounting_request(identifier: u8, secret: &[u8], told: &Accounting) -> Result<Vec<u8>, TooLong> {
    let mut packet = Vec::with_capacity(512);
    packet.extend([ACCOUNTING_REQUEST, identifier, 0, 0]);
    packet.extend([0; 16]);
    let number = |packet: &mut Vec<u8>, kind: u8, value: u32| attribute(packet, kind, &value.to_be_bytes());
    number(&mut packet, 40, told.status as u32)?;
    for (kind, text) in [
        (USER_NAME, &told.user),
        (NAS_IDENTIFIER, &told.nas_identifier),
        (30, &told.called),
        (31, &told.calling),
        (44, &told.session),
        (50, &told.call),
        (77, &told.connection),
    ] {
        attribute(&mut packet, kind, text)?;
    }
    // A port that is none: Virtual.
    number(&mut packet, 61, 5)?;
    number(&mut packet, 55, told.at_unix_s)?;
    if told.status != Status::Start {
        number(&mut packet, 46, told.seconds)?;
        // The low halves are what they are named for; the high ones count how often they went over (RFC 2869 5.1).
        for (low, high, value) in [(42, 52, told.octets[0]), (43, 53, told.octets[1])] {
            number(&mut packet, low, value as u32)?;
            number(&mut packet, high, (value >> 32) as u32)?;
        }
        number(&mut packet, 47, u32::try_from(told.packets[0]).unwrap_or(u32::MAX))?;
        number(&mut packet, 48, u32::try_from(told.packets[1]).unwrap_or(u32::MAX))?;
    }
    if told.status == Status::Stop {
        number(&mut packet, 49, told.terminate_cause)?;
    }
    cisco::append(&mut packet, &told.cisco)?;
    if packet.len() > MAX_PACKET {
        return Err(TooLong);
    }
    let length = u16::try_from(packet.len()).map_err(|_| TooLong)?.to_be_bytes();
    packet[2..4].copy_from_slice(&length);
    let proof = proof(&packet[..4], &[0; 16], &packet[HEADER..], secret);
    packet[4..HEADER].copy_from_slice(&proof);
    Ok(packet)
}

/// Whether a datagram says that the server has what `request` told it.
///
/// # Errors
/// If it is another datagram, or does not prove who made it (RFC 2866 section 3).
pub fn accounting_answer(datagram: &[u8], request: &[u8], secret: &[u8]) -> Result<(), Fault> {
    let [code, identifier, high, low, ..] = *datagram else { return Err(Fault::Malformed) };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let packet = datagram.get(..length).filter(|packet| (HEADER..=MAX_PACKET).contains(&packet.len()));
    let packet = packet.ok_or(Fault::Malformed)?;
    if code != ACCOUNTING_RESPONSE || request.get(1) != Some(&identifier) {
        return Err(Fault::Other);
    }
    let asked = request.get(4..HEADER).ok_or(Fault::Other)?;
    let proof = proof(&packet[..4], asked, &packet[HEADER..], secret);
    if bool::from(proof.ct_eq(&packet[4..HEADER])) { Ok(()) } else { Err(Fault::Forged) }
}

fn proof(head: &[u8], authenticator: &[u8], attributes: &[u8], secret: &[u8]) -> [u8; 16] {
    let mut hash = Md5::new();
    for part in [head, authenticator, attributes, secret] {
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(status: Status) -> Accounting {
        Accounting {
            status,
            session: b"0001".to_vec(),
            call: b"c1@host".to_vec(),
            user: b"6000".to_vec(),
            nas_identifier: b"moorline".to_vec(),
            called: b"5551000".to_vec(),
            calling: b"2001".to_vec(),
            seconds: 61,
            octets: [5_000_000_000, 7],
            packets: [3, 4],
            at_unix_s: 1_700_000_000,
            connection: b"200 PCMA".to_vec(),
            terminate_cause: 1,
            cisco: vec![(Cisco::AvPair, b"callee_trunk=carrier".to_vec())],
        }
    }

    /// The values of an attribute.
    fn values(packet: &[u8], kind: u8) -> Vec<Vec<u8>> {
        let (mut at, mut found) = (HEADER, Vec::new());
        while at < packet.len() {
            let length = usize::from(packet[at + 1]);
            if packet[at] == kind {
                found.push(packet[at + 2..at + length].to_vec());
            }
            at += length;
        }
        found
    }

    #[test]
    fn a_stop_tells_all_and_a_start_what_is_known() {
        let stop = accounting_request(9, b"secret", &told(Status::Stop)).unwrap();
        assert_eq!(&stop[..2], &[4, 9]);
        assert_eq!(usize::from(u16::from_be_bytes([stop[2], stop[3]])), stop.len());
        assert_eq!(values(&stop, 40), [2_u32.to_be_bytes()]);
        assert_eq!(values(&stop, 44), [b"0001"]);
        assert_eq!((values(&stop, 1), values(&stop, 30)), (vec![b"6000".to_vec()], vec![b"5551000".to_vec()]));
        assert_eq!(values(&stop, 42), [705_032_704_u32.to_be_bytes()]);
        assert_eq!(values(&stop, 52), [1_u32.to_be_bytes()]);
        assert_eq!(values(&stop, 46), [61_u32.to_be_bytes()]);
        assert_eq!(values(&stop, 49), [1_u32.to_be_bytes()]);
        assert_eq!(values(&stop, 26), [[&[0, 0, 0, 9, 1, 22][..], b"callee_trunk=carrier"].concat()]);
        let start = accounting_request(9, b"secret", &told(Status::Start)).unwrap();
        assert!([42, 46, 49].iter().all(|kind| values(&start, *kind).is_empty()));
        // RFC 2866 section 3: over the packet with zeros in its place, and the secret.
        let mut zeroed = start.clone();
        zeroed[4..HEADER].fill(0);
        zeroed.extend_from_slice(b"secret");
        assert_eq!(start[4..HEADER], Md5::digest(&zeroed)[..]);
        let long = Accounting { user: vec![b'x'; 254], ..told(Status::Start) };
        assert_eq!(accounting_request(9, b"secret", &long), Err(TooLong));
        let much = Accounting { cisco: vec![(Cisco::AvPair, vec![b'x'; 247]); 40], ..told(Status::Stop) };
        let much = accounting_request(9, b"secret", &much).unwrap();
        assert!((MAX_PACKET - 255..=MAX_PACKET).contains(&much.len()), "{}", much.len());
        assert!(values(&much, 26).last().unwrap().ends_with(b"left_out=25"), "15 have room");
    }

    #[test]
    fn an_answer_must_prove_that_it_is_one() {
        let request = accounting_request(9, b"secret", &told(Status::Stop)).unwrap();
        let mut answer = vec![5, 9, 0, 20];
        answer.extend(proof(&answer.clone(), &request[4..HEADER], b"", b"secret"));
        assert_eq!(accounting_answer(&answer, &request, b"secret"), Ok(()));
        assert_eq!(accounting_answer(&answer, &request, b"another"), Err(Fault::Forged));
        assert_eq!(accounting_answer(&answer[..19], &request, b"secret"), Err(Fault::Malformed));
        for (at, value) in [(0, 2), (1, 8)] {
            let mut other = answer.clone();
            other[at] = value;
            assert_eq!(accounting_answer(&other, &request, b"secret"), Err(Fault::Other));
        }
        for at in 4..20 {
            let mut forged = answer.clone();
            forged[at] ^= 1;
            assert_eq!(accounting_answer(&forged, &request, b"secret"), Err(Fault::Forged));
        }
        for length in 0..20 {
            let mut short = answer.clone();
            short[3] = length;
            assert_eq!(accounting_answer(&short, &request, b"secret"), Err(Fault::Malformed));
        }
    }
}
