//! Against RFC 2865's example, an HMAC written out, and mutations.

use proptest::prelude::*;

use super::*;

const SECRET: &[u8] = b"lab-secret-0123456789";
const STAMP: Stamp = Stamp { identifier: 7, authenticator: *b"sixteen bytes .." };

fn question() -> DigestQuestion {
    DigestQuestion {
        user: b"6000".into(),
        realm: b"example.com".into(),
        nonce: b"abc123".into(),
        method: b"REGISTER".into(),
        uri: b"sip:example.com".into(),
        response: b"45fb6e6098cc42f8189968d77ab08a16".into(),
        algorithm: Some(b"MD5".into()),
        qop: Some(b"auth".into()),
        nonce_count: Some(b"00000001".into()),
        cnonce: Some(b"xyz".into()),
        opaque: None,
    }
}

/// The attributes of a packet, as types and values.
fn attributes(packet: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut list = Vec::new();
    let mut rest = &packet[20..];
    while let [kind, length, ..] = *rest {
        let (attribute, after) = rest.split_at(usize::from(length));
        list.push((kind, attribute[2..].to_vec()));
        rest = after;
    }
    list
}

/// An answer as a server makes it (RFC 2865 section 3, RFC 3579 section 3.2).
fn reply_to(stamp: Stamp, code: u8, secret: &[u8], signed: bool) -> Vec<u8> {
    let mut attributes = vec![18, 4, b'h', b'i'];
    if signed {
        let at = attributes.len() + 2;
        attributes.extend([80, 18]);
        attributes.extend([0; 16]);
        let length = u16::try_from(20 + attributes.len()).expect("short").to_be_bytes();
        let mut text = vec![code, stamp.identifier, length[0], length[1]];
        text.extend(stamp.authenticator);
        text.extend(&attributes);
        attributes[at..].copy_from_slice(&hmac_md5(secret, &text));
    }
    let length = u16::try_from(20 + attributes.len()).expect("short").to_be_bytes();
    let header = [code, stamp.identifier, length[0], length[1]];
    let mut hash = Md5::new();
    for part in [&header[..], &stamp.authenticator, &attributes, secret] {
        hash.update(part);
    }
    let mut packet = header.to_vec();
    packet.extend(hash.finalize());
    packet.extend(attributes);
    packet
}

/// HMAC written out (RFC 2104), for keys of up to 64 bytes.
fn hmac_md5(key: &[u8], text: &[u8]) -> [u8; 16] {
    let mut padded = [0; 64];
    padded[..key.len()].copy_from_slice(key);
    let inner = Md5::new().chain_update(padded.map(|byte| byte ^ 0x36)).chain_update(text).finalize();
    Md5::new().chain_update(padded.map(|byte| byte ^ 0x5c)).chain_update(inner).finalize().into()
}

#[test]
fn the_answer_in_rfc_2865_section_7_1_is_authentic() {
    let stamp = Stamp {
        identifier: 0,
        authenticator: [0x0f, 0x40, 0x3f, 0x94, 0x73, 0x97, 0x80, 0x57, 0xbd, 0x83, 0xd5, 0xcb, 0x98, 0xf4, 0x22, 0x7a],
    };
    let packet = [
        0x02, 0x00, 0x00, 0x26, 0x86, 0xfe, 0x22, 0x0e, 0x76, 0x24, 0xba, 0x2a, 0x10, 0x05, 0xf6, 0xbf, 0x9b, 0x55,
        0xe0, 0xb2, 0x06, 0x06, 0x00, 0x00, 0x00, 0x01, 0x0f, 0x06, 0x00, 0x00, 0x00, 0x00, 0x0e, 0x06, 0xc0, 0xa8,
        0x01, 0x03,
    ];
    let secret = b"xyzzy5461";
    assert_eq!(answer(&packet, stamp, secret, false), Ok(Reply::Accept));
    assert_eq!(answer(&packet, stamp, secret, true), Err(Fault::Unsigned));
    assert_eq!(answer(&packet, stamp, b"xyzzy5462", false), Err(Fault::Forged));
}

#[test]
fn a_request_says_what_the_client_said_and_is_signed() {
    let packet = access_request(STAMP, SECRET, "edge", Form::Sterman, &question()).expect("fits");
    assert_eq!(packet[..2], [1, 7]);
    assert_eq!(usize::from(u16::from_be_bytes([packet[2], packet[3]])), packet.len());
    assert_eq!(packet[4..20], STAMP.authenticator);
    let list = attributes(&packet);
    assert_eq!(list[0].0, 80, "Message-Authenticator stands first");
    let mut unsigned = packet.clone();
    unsigned[22..38].fill(0);
    assert_eq!(list[0].1, hmac_md5(SECRET, &unsigned));
    assert_eq!(list[1], (1, b"6000".to_vec()));
    assert_eq!(list[2], (32, b"edge".to_vec()));
    assert_eq!(list[3], (206, b"45fb6e6098cc42f8189968d77ab08a16".to_vec()));
    let inner: Vec<Vec<u8>> = list[4..]
        .iter()
        .map(|(kind, value)| {
            assert_eq!(*kind, 207);
            value.clone()
        })
        .collect();
    let expected: [&[u8]; 9] = [
        b"\x01\x0dexample.com",
        b"\x02\x08abc123",
        b"\x03\x0aREGISTER",
        b"\x04\x11sip:example.com",
        b"\x05\x06auth",
        b"\x06\x05MD5",
        b"\x08\x05xyz",
        b"\x09\x0a00000001",
        b"\x0a\x066000",
    ];
    assert_eq!(inner, expected);
}

#[test]
fn in_the_form_of_rfc_5090_each_value_is_an_attribute() {
    let question = DigestQuestion { opaque: Some(b"o".into()), qop: None, ..question() };
    let packet = access_request(STAMP, SECRET, "edge", Form::Rfc5090, &question).expect("fits");
    let kinds: Vec<u8> = attributes(&packet).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, [80, 1, 32, 103, 104, 105, 108, 109, 111, 113, 114, 115, 116]);
}

#[test]
fn what_does_not_fit_is_not_sent() {
    for form in [Form::Sterman, Form::Rfc5090] {
        let long = DigestQuestion { uri: vec![b'a'; 254], ..question() };
        assert_eq!(access_request(STAMP, SECRET, "edge", form, &long), Err(TooLong));
    }
    let inside = DigestQuestion { uri: vec![b'a'; 252], ..question() };
    assert_eq!(access_request(STAMP, SECRET, "edge", Form::Sterman, &inside), Err(TooLong), "no room for a type");
    assert!(access_request(STAMP, SECRET, "edge", Form::Rfc5090, &inside).is_ok());
}

#[test]
fn answers_are_told_apart() {
    for signed in [false, true] {
        for (code, expected) in [(2, Reply::Accept), (3, Reply::Reject), (11, Reply::Challenge)] {
            let packet = reply_to(STAMP, code, SECRET, signed);
            assert_eq!(answer(&packet, STAMP, SECRET, signed), Ok(expected));
            let mut padded = packet.clone();
            padded.extend([0; 10]);
            assert_eq!(answer(&padded, STAMP, SECRET, signed), Ok(expected), "padding is not of the packet");
        }
    }
    assert_eq!(answer(&reply_to(STAMP, 5, SECRET, true), STAMP, SECRET, false), Err(Fault::Other));
    let other = Stamp { identifier: 8, ..STAMP };
    assert_eq!(answer(&reply_to(other, 2, SECRET, true), STAMP, SECRET, false), Err(Fault::Other));
    let replayed = Stamp { authenticator: [1; 16], ..STAMP };
    assert_eq!(answer(&reply_to(replayed, 2, SECRET, true), STAMP, SECRET, false), Err(Fault::Forged));
    assert_eq!(answer(&reply_to(STAMP, 2, b"guess", true), STAMP, SECRET, false), Err(Fault::Forged));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_or_believe(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(answer(&bytes, STAMP, SECRET, false).is_err());
    }

    #[test]
    fn no_change_of_an_answer_goes_unseen(
        code in prop_oneof![Just(2u8), Just(3), Just(11)],
        signed: bool,
        at: prop::sample::Index,
        flip in 1..=255u8,
    ) {
        let mut packet = reply_to(STAMP, code, SECRET, signed);
        let at = at.index(packet.len());
        packet[at] ^= flip;
        prop_assert!(answer(&packet, STAMP, SECRET, false).is_err());
    }

    #[test]
    fn every_request_that_fits_is_well_formed(
        values in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..260), 8),
        rfc5090: bool,
    ) {
        let question = DigestQuestion {
            user: values[0].clone(),
            realm: values[1].clone(),
            nonce: values[2].clone(),
            uri: values[3].clone(),
            cnonce: Some(values[4].clone()),
            opaque: Some(values[5].clone()),
            qop: Some(values[6].clone()),
            response: values[7].clone(),
            ..question()
        };
        let form = if rfc5090 { Form::Rfc5090 } else { Form::Sterman };
        match access_request(STAMP, SECRET, "edge", form, &question) {
            Ok(packet) => {
                let sum: usize = attributes(&packet).iter().map(|(_, value)| value.len() + 2).sum();
                prop_assert_eq!(sum + 20, packet.len());
                prop_assert!(packet.len() <= MAX_PACKET);
            }
            Err(TooLong) => prop_assert!(values.iter().any(|value| value.len() > 251)),
        }
    }
}
