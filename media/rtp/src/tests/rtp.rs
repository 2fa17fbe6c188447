//! RTP, beside the `rtp` crate.

use std::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;
use webrtc_util::marshal::Unmarshal;

use super::datagram;
use crate::{Extension, Fault, Rtp};

const HEADER: [u8; 12] = [0x80, 0x80, 0xff, 0xfe, 1, 2, 3, 4, 5, 6, 7, 8];

fn with(first: u8, rest: &[&[u8]]) -> Vec<u8> {
    let mut bytes = datagram(&[&HEADER, &rest.concat()]);
    bytes[0] = first;
    bytes
}

#[test]
fn every_part_is_found() {
    let bytes = with(0xb2, &[&[0, 0, 0, 1, 0, 0, 0, 2], &[0xbe, 0xde, 0, 1, 9, 9, 9, 9], b"voice", &[0, 0, 3]]);
    let packet = Rtp::parse(&bytes).unwrap();
    assert!(packet.marker());
    assert_eq!((packet.payload_type(), packet.sequence()), (0, 0xfffe));
    assert_eq!((packet.timestamp(), packet.ssrc()), (0x0102_0304, 0x0506_0708));
    assert_eq!(packet.csrcs().collect::<Vec<_>>(), [1, 2]);
    assert_eq!(packet.extension(), Some(Extension { profile: 0xbede, data: &[9; 4] }));
    assert_eq!((packet.payload(), packet.padding()), (&b"voice"[..], 3));
}

#[test]
fn lengths_that_disagree_are_refused() {
    for (bytes, fault) in [
        (HEADER[..11].to_vec(), Fault::Short),
        (with(0x40, &[]), Fault::Version),
        (with(0x81, &[&[0; 3]]), Fault::Truncated),
        (with(0x90, &[&[0; 3]]), Fault::Truncated),
        (with(0x90, &[&[0, 0, 0, 1, 0, 0, 0]]), Fault::Truncated),
        (with(0x90, &[&[0, 0, 0xff, 0xff]]), Fault::Truncated),
        (with(0xa0, &[]), Fault::Padding),
        (with(0xa0, &[&[1, 0]]), Fault::Padding),
        (with(0xa0, &[&[1, 3]]), Fault::Padding),
    ] {
        assert_eq!(Rtp::parse(&bytes).unwrap_err(), fault, "{bytes:?}");
    }
    assert_eq!(Rtp::parse(&with(0xa0, &[&[1, 2]])).unwrap().payload(), [0; 0]);
    assert_eq!(Rtp::parse(&HEADER).unwrap().payload(), [0; 0], "an empty payload is RTP");
}

/// Bytes that are often RTP: any header bits but the version, and small counts.
fn likely() -> impl Strategy<Value = Vec<u8>> {
    (vec(any::<u8>(), 0..80), any::<u8>()).prop_map(|(mut bytes, first)| {
        if let Some(byte) = bytes.first_mut() {
            *byte = 0x80 | (first & 0x33);
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_parsed_or_refused(bytes in vec(any::<u8>(), 0..200)) {
        if let Ok(packet) = Rtp::parse(&bytes) {
            let extension = packet.extension().map_or(0, |extension| 4 + extension.data.len());
            let parts = 12 + packet.csrcs().len() * 4 + extension;
            prop_assert_eq!(parts + packet.payload().len() + usize::from(packet.padding()), bytes.len());
        }
    }

    #[test]
    fn the_rtp_crate_sees_the_same_packet(bytes in likely()) {
        // The oracle also looks into the extension's elements, which is not a relay's business, so it may
        // refuse more; and it takes a padding count of zero.
        let theirs = rtp::packet::Packet::unmarshal(&mut &bytes[..]);
        let ours = Rtp::parse(&bytes);
        let Ok(theirs) = theirs else { return Ok(()) };
        match ours {
            Ok(ours) => {
                prop_assert_eq!(ours.payload_type(), theirs.header.payload_type);
                prop_assert_eq!(ours.marker(), theirs.header.marker);
                prop_assert_eq!(ours.sequence(), theirs.header.sequence_number);
                prop_assert_eq!(ours.timestamp(), theirs.header.timestamp);
                prop_assert_eq!(ours.ssrc(), theirs.header.ssrc);
                prop_assert_eq!(ours.csrcs().collect::<Vec<_>>(), theirs.header.csrc);
                prop_assert_eq!(ours.extension().is_some(), theirs.header.extension);
                prop_assert_eq!(ours.payload(), &theirs.payload[..]);
            }
            Err(fault) => {
                prop_assert_eq!(fault, Fault::Padding);
                prop_assert_eq!(bytes.last(), Some(&0));
            }
        }
    }
}
