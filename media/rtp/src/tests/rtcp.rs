//! RTCP, beside the `rtcp` crate.

use std::boxed::Box;
use std::string::String;
use std::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;

use super::datagram;
use crate::{Fault, Packet, Rtcp};

const RECEIVER_REPORT: [u8; 8] = [0x80, 201, 0, 1, 0, 0, 0, 9];

#[test]
fn a_compound_is_walked_packet_by_packet() {
    let sdes = [0x81, 202, 0, 3, 0, 0, 0, 9, 1, 5, b'a', b'@', b'b', b'.', b'c', 0];
    let bye = [0x81, 203, 0, 3, 0, 0, 0, 9, 4, b'd', b'o', b'n', b'e', 0, 0, 0];
    let app = [0x85, 204, 0, 3, 0, 0, 0, 9, b'M', b'O', b'O', b'R', 1, 2, 3, 4];
    let feedback = [0x81, 206, 0, 2, 0, 0, 0, 9, 0, 0, 0, 8];
    let bytes = datagram(&[&RECEIVER_REPORT, &sdes, &bye, &app, &feedback]);
    let packets: Vec<Packet<'_>> = Rtcp::parse(&bytes).unwrap().packets().collect();
    let [Packet::ReceiverReport(report), Packet::Sdes(sdes), Packet::Bye(bye), Packet::App(app), other] = packets[..]
    else {
        panic!("{packets:?}")
    };
    assert_eq!((report.ssrc(), report.blocks().len()), (9, 0));
    let items: Vec<_> = sdes.items().map(|item| (item.ssrc, item.item_type, item.text)).collect();
    assert_eq!((sdes.chunks(), items), (1, Vec::from([(9, 1, &b"a@b.c"[..])])));
    assert_eq!((bye.sources().collect::<Vec<_>>(), bye.reason()), (Vec::from([9]), Some(&b"done"[..])));
    assert_eq!((app.subtype(), app.ssrc(), app.name(), app.data()), (5, 9, *b"MOOR", &[1, 2, 3, 4][..]));
    assert!(matches!(other, Packet::Other { packet_type: 206, count: 1, body } if body.len() == 8));
}

#[test]
fn lengths_that_disagree_are_refused() {
    let cut = |count: u8, packet_type: u8| datagram(&[&[0x80 | count, packet_type, 0, 1, 0, 0, 0, 9]]);
    for (bytes, fault) in [
        (Vec::new(), Fault::Short),
        (RECEIVER_REPORT[..3].to_vec(), Fault::Short),
        (RECEIVER_REPORT[..7].to_vec(), Fault::Truncated),
        (datagram(&[&RECEIVER_REPORT, &[0x80, 201]]), Fault::Trailing),
        (datagram(&[&RECEIVER_REPORT, &[0x40, 201, 0, 0]]), Fault::Version),
        (cut(1, 201), Fault::Truncated),
        (cut(0, 200), Fault::Truncated),
        (cut(2, 203), Fault::Truncated),
        (cut(0, 204), Fault::Truncated),
        (datagram(&[&[0x80, 201, 0, 0]]), Fault::Truncated),
        (datagram(&[&[0xa0, 201, 0, 0], &RECEIVER_REPORT]), Fault::Padding),
        (datagram(&[&[0xa0, 201, 0, 2, 0, 0, 0, 9, 0, 0, 0, 8]]), Fault::Truncated),
        (datagram(&[&[0xa0, 201, 0, 2, 0, 0, 0, 9, 0, 0, 0, 0]]), Fault::Padding),
        (datagram(&[&[0xa0, 201, 0, 2, 0, 0, 0, 9, 0, 0, 0, 13]]), Fault::Padding),
    ] {
        assert_eq!(Rtcp::parse(&bytes).unwrap_err(), fault, "{bytes:?}");
    }
    assert!(Rtcp::parse(&[0xa0, 201, 0, 2, 0, 0, 0, 9, 0, 0, 0, 4]).is_ok(), "a packet may be padded");
    assert!(Rtcp::parse(&[0x80, 201, 0, 2, 0, 0, 0, 9, 1, 2, 3, 4]).is_ok(), "a profile's extension");
}

#[test]
fn loss_below_zero_keeps_its_sign() {
    let mut bytes = datagram(&[&[0x81, 201, 0, 7, 0, 0, 0, 9], &[0; 24]]);
    bytes[12..16].copy_from_slice(&[0x40, 0xff, 0xff, 0xfe]);
    let packets: Vec<Packet<'_>> = Rtcp::parse(&bytes).unwrap().packets().collect();
    let [Packet::ReceiverReport(report)] = packets[..] else { panic!("{packets:?}") };
    let block = report.blocks().next().unwrap();
    assert_eq!((block.fraction_lost, block.lost), (0x40, -2));
}

type Theirs = Box<dyn rtcp::packet::Packet + Send + Sync>;

fn block() -> impl Strategy<Value = rtcp::reception_report::ReceptionReport> {
    (any::<[u32; 5]>(), any::<u8>(), 0..1u32 << 23).prop_map(|(words, fraction_lost, total_lost)| {
        rtcp::reception_report::ReceptionReport {
            ssrc: words[0],
            fraction_lost,
            total_lost,
            last_sequence_number: words[1],
            jitter: words[2],
            last_sender_report: words[3],
            delay: words[4],
        }
    })
}

fn sender_report() -> impl Strategy<Value = rtcp::sender_report::SenderReport> {
    (any::<[u32; 4]>(), any::<u64>(), vec(block(), 0..4)).prop_map(|(words, ntp_time, reports)| {
        rtcp::sender_report::SenderReport {
            ssrc: words[0],
            ntp_time,
            rtp_time: words[1],
            packet_count: words[2],
            octet_count: words[3],
            reports,
            ..Default::default()
        }
    })
}

fn description() -> impl Strategy<Value = rtcp::source_description::SourceDescription> {
    use rtcp::source_description::{SdesType, SourceDescription, SourceDescriptionChunk, SourceDescriptionItem};
    let item = "[a-z@.]{0,20}"
        .prop_map(|text: String| SourceDescriptionItem { sdes_type: SdesType::SdesCname, text: text.into() });
    let chunk = (any::<u32>(), vec(item, 0..3)).prop_map(|(source, items)| SourceDescriptionChunk { source, items });
    vec(chunk, 0..4).prop_map(|chunks| SourceDescription { chunks })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_parsed_or_refused(
        mut bytes in vec(any::<u8>(), 0..120),
        packet_type in 198..208u8,
        words in 0..30u8,
    ) {
        if let [first, second, high, low, ..] = &mut bytes[..] {
            *first = 0x80 | (*first & 0x3f);
            (*second, *high, *low) = (packet_type, 0, words);
        }
        let Ok(compound) = Rtcp::parse(&bytes) else { return Ok(()) };
        let mut seen = 0;
        for packet in compound.packets() {
            seen += 1;
            match packet {
                Packet::SenderReport(report) => seen += report.blocks().len(),
                Packet::ReceiverReport(report) => seen += report.blocks().len(),
                Packet::Sdes(sdes) => seen += sdes.items().count(),
                Packet::Bye(bye) => seen += bye.sources().len() + bye.reason().map_or(0, <[u8]>::len),
                Packet::App(app) => seen += app.data().len(),
                Packet::Other { body, .. } => seen += body.len(),
            }
        }
        prop_assert!((1..=bytes.len()).contains(&seen));
    }

    #[test]
    fn what_the_rtcp_crate_writes_is_read(
        report in sender_report(),
        description in description(),
        sources in vec(any::<u32>(), 0..4),
    ) {
        let bye = rtcp::goodbye::Goodbye { sources: sources.clone(), reason: "over".into() };
        let packets: Vec<Theirs> =
            Vec::from([Box::new(report.clone()) as Theirs, Box::new(description.clone()), Box::new(bye)]);
        let bytes = rtcp::packet::marshal(&packets).unwrap();
        let ours: Vec<Packet<'_>> = Rtcp::parse(&bytes).unwrap().packets().collect();
        let [Packet::SenderReport(sr), Packet::Sdes(sdes), Packet::Bye(bye)] = ours[..] else {
            return Err(TestCaseError::fail(std::format!("{ours:?}")));
        };
        prop_assert_eq!((sr.ssrc(), sr.ntp(), sr.rtp_timestamp()), (report.ssrc, report.ntp_time, report.rtp_time));
        prop_assert_eq!((sr.packets(), sr.octets()), (report.packet_count, report.octet_count));
        prop_assert_eq!(sr.blocks().len(), report.reports.len());
        for (ours, theirs) in sr.blocks().zip(&report.reports) {
            prop_assert_eq!((ours.ssrc, ours.fraction_lost), (theirs.ssrc, theirs.fraction_lost));
            prop_assert_eq!(i64::from(ours.lost), i64::from(theirs.total_lost));
            prop_assert_eq!((ours.highest_sequence, ours.jitter), (theirs.last_sequence_number, theirs.jitter));
            prop_assert_eq!(ours.last_sender_report, theirs.last_sender_report);
            prop_assert_eq!(ours.delay_since_sender_report, theirs.delay);
        }
        let items: Vec<(u32, &[u8])> = sdes.items().map(|item| (item.ssrc, item.text)).collect();
        let chunks = description.chunks.iter();
        let expected: Vec<(u32, &[u8])> =
            chunks.flat_map(|chunk| chunk.items.iter().map(|item| (chunk.source, &item.text[..]))).collect();
        prop_assert_eq!(items, expected);
        prop_assert_eq!(bye.sources().collect::<Vec<_>>(), sources);
        prop_assert_eq!(bye.reason(), Some(&b"over"[..]));
    }
}
