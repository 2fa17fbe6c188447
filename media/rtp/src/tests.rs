//! Packets by hand, random bytes, and other implementations as oracles.

use std::vec::Vec;

use crate::{Fault, Kind, kind};

mod arithmetic;
mod rtcp;
mod rtp;

/// A datagram from its parts.
fn datagram(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

fn stun() -> Vec<u8> {
    datagram(&[&[0, 1, 0, 4, 0x21, 0x12, 0xa4, 0x42], &[7; 12], &[0x80, 0x28, 0, 0]])
}

#[test]
fn protocols_are_told_apart_by_their_first_bytes() {
    for (bytes, expected) in [
        (&[0x80, 0][..], Kind::Rtp),
        (&[0x80, 63], Kind::Rtp),
        (&[0x80, 64], Kind::Rtcp),
        (&[0x80, 95], Kind::Rtcp),
        (&[0x80, 96], Kind::Rtp),
        (&[0xbf, 0x80 | 127], Kind::Rtp),
        (&[0x81, 200], Kind::Rtcp),
        (&[0x81, 223], Kind::Rtcp),
        (&[22, 0xfe, 0xfd], Kind::Dtls),
        (&[63, 0], Kind::Dtls),
        (&[16, 0], Kind::Unknown),
        (&[64, 0], Kind::Unknown),
        (&[0xc0, 0], Kind::Unknown),
        (&[0x80], Kind::Unknown),
        (&[], Kind::Unknown),
    ] {
        assert_eq!(kind(bytes), expected, "{bytes:?}");
    }
}

#[test]
fn stun_needs_its_cookie_and_its_length() {
    let message = stun();
    let view = crate::Stun::parse(&message).unwrap();
    assert_eq!((view.message_type(), view.transaction_id()), (1, &[7; 12][..]));
    assert_eq!(view.attributes(), [0x80, 0x28, 0, 0]);
    assert_eq!(kind(&message), Kind::Stun);
    assert_eq!(crate::Stun::parse(&message[..19]).unwrap_err(), Fault::Short);
    for (position, fault) in [(0, Fault::Version), (4, Fault::Version), (3, Fault::Truncated)] {
        let mut wrong = stun();
        wrong[position] ^= 0x40;
        assert_eq!(crate::Stun::parse(&wrong).unwrap_err(), fault, "{position}");
        assert_ne!(kind(&wrong), Kind::Stun);
    }
}
