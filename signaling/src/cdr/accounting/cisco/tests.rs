//! What a server is told of a record by Cisco's attributes.

use moorline_b2bua::cdr::{EndedBy, Media, Party};
use moorline_b2bua::radius::{MAX_PACKET, accounting_request};

use super::super::accounting;
use super::*;
use crate::config::VendorAttributes;

fn side(name: &str, host: u8) -> Party {
    Party {
        trunk: name.into(),
        call_id: format!("{name}@host"),
        code: Some(200),
        reason: Some("OK".into()),
        signaling: format!("192.0.2.{host}:5060").parse().ok(),
        transport: "udp".into(),
        media: Media {
            media: format!("192.0.2.{host}:4000").parse().ok(),
            local_media: format!("198.51.100.{host}:20000").parse().ok(),
            packets: 50,
            bytes: 8600,
            lost: 2,
            jitter_us: 1250,
            mos: Some(4.37),
            codec: Some("PCMA/8000".into()),
            payload_type: Some(8),
        },
        ..Party::default()
    }
}

fn record() -> Record {
    let at = |unix_ms| Some(Time { unix_ms });
    Record {
        id: "id".into(),
        node: 3,
        setup: Time { unix_ms: 1_795_375_833_123 },
        ring: at(1_795_375_834_000),
        answer: at(1_795_375_835_000),
        end: at(1_795_375_836_007),
        duration_ms: 1007,
        ended_by: Some(EndedBy::Caller),
        cause: Some("caller_hung_up".into()),
        release_reason: Some("Q.850;cause=16".into()),
        caller_number: "2001".into(),
        caller_number_sent: "+862001".into(),
        called_number: "5551000".into(),
        called_number_sent: "00865551000".into(),
        account: "6000".into(),
        caller: side("pbx", 1),
        callee: side("carrier", 2),
        ..Record::default()
    }
}

/// The attributes, as a server shows them.
fn shown(record: &Record, stage: Stage) -> Vec<String> {
    let name = |kind| if kind == Cisco::AvPair { String::new() } else { format!("{kind:?}=") };
    let text = |value: Vec<u8>| String::from_utf8(value).expect("a text");
    attributes(record, stage).into_iter().map(|(kind, value)| name(kind) + &text(value)).collect()
}

#[test]
fn a_stop_says_all_that_a_record_says() {
    let told = shown(&record(), Stage::Ended);
    for wanted in [
        "SetupTime=19:30:33.123 UTC Sun Nov 22 2026",
        "ConnectTime=19:30:35.000 UTC Sun Nov 22 2026",
        "DisconnectTime=19:30:36.007 UTC Sun Nov 22 2026",
        "RemoteAddress=192.0.2.2",
        "node=3",
        "duration_ms=1007",
        "ended_by=caller",
        "cause=caller_hung_up",
        "release_reason=Q.850;cause=16",
        "caller_number_sent=+862001",
        "called_number_sent=00865551000",
        "caller_trunk=pbx",
        "callee_trunk=carrier",
        "callee_call_id=carrier@host",
        "callee_code=200",
        "callee_reason=OK",
        "caller_media=192.0.2.1:4000",
        "caller_local_media=198.51.100.1:20000",
        "callee_media=192.0.2.2:4000",
        "callee_lost=2",
        "callee_jitter_us=1250",
        "callee_mos=4.37",
        "callee_codec=PCMA/8000",
        "callee_payload_type=8",
    ] {
        assert!(told.iter().any(|said| said == wanted), "{wanted} in {told:#?}");
    }
    // What no column says by itself is said by an attribute of RFC 2866.
    let untold = |name: &&str| !told.iter().any(|said| said.starts_with(&format!("{name}=")));
    let untold: Vec<&str> = COLUMNS.iter().map(|(name, _)| *name).filter(untold).collect();
    let empty = ["transferred_from", "transferred_to", "caller_user", "callee_user"];
    assert!(untold.iter().all(|name| SAID.contains(name) || empty.contains(name)), "{untold:?}");
}

#[test]
fn a_start_says_nothing_of_what_is_to_come() {
    let mut early = record();
    (early.end, early.ended_by, early.cause, early.release_reason) = (None, None, None, None);
    (early.caller.media, early.callee.media) = (Media::default(), Media::default());
    let told = shown(&early, Stage::Answered);
    let later = ["Disconnect", "duration", "ended", "cause", "lost", "jitter", "mos", "codec", "payload"];
    assert!(!told.iter().any(|said| later.iter().any(|later| said.contains(later))), "{told:#?}");
    assert!(told.contains(&"called_number_sent=00865551000".into()), "{told:#?}");
}

#[test]
fn what_parties_say_is_cut_between_characters_and_never_makes_a_packet_too_long() {
    let endless = |name: &str| format!("{name}\n{}", "é".repeat(128));
    let mut record = record();
    for text in [&mut record.called_number_sent, &mut record.caller_number_sent, &mut record.account, &mut record.id] {
        *text = endless("number");
    }
    for party in [&mut record.caller, &mut record.callee] {
        (party.trunk, party.call_id, party.transport) = (endless("trunk"), endless("call"), endless("transport"));
        (party.user, party.reason, party.media.codec) =
            (Some(endless("user")), Some(endless("reason")), Some(endless("codec")));
    }
    record.tries = vec![Try { trunk: endless("trunk"), reason: Some(endless("reason")), ..Try::default() }; 16];
    let told = shown(&record, Stage::Ended);
    assert_eq!(told.iter().filter(|said| said.starts_with("try=-  - trunk ")).count(), 16, "{told:#?}");
    assert!(!told.iter().any(|said| said.contains('\n')));
    assert!(attributes(&record, Stage::Ended).iter().all(|(_, value)| value.len() <= MAX_VENDOR_VALUE));
    let told = accounting(&record, Stage::Ended, &endless("nas"), VendorAttributes::Cisco);
    let packet = accounting_request(1, b"secret", &told).expect("it fits");
    assert!(packet.len() <= MAX_PACKET && packet.windows(9).any(|text| text == b"left_out="), "{}", packet.len());
}

#[test]
fn a_usual_call_fits_a_frame_of_ethernet_and_nothing_is_said_where_that_is_not_wanted() {
    let mut record = record();
    record.id = "0011223344556677889900".into();
    record.caller.call_id = "3c26701c8a5b-7mgw3kuntq1s@192.0.2.1".into();
    record.callee.call_id = "0011223344556677889900aabbccddeeff".into();
    let packet = |vendor| {
        let told = accounting(&record, Stage::Ended, "moorline", vendor);
        accounting_request(1, b"secret", &told).expect("it fits")
    };
    let whole = packet(VendorAttributes::Cisco).len();
    // 1500 without the headers of IPv6 and UDP.
    assert!((600..=1452).contains(&whole), "{whole}");
    assert!(packet(VendorAttributes::None).len() < 300);
}

#[test]
fn each_try_is_told_where_there_were_several() {
    let mut record = record();
    let tried = |trunk: &str, code, reason: &str| Try {
        trunk: trunk.into(),
        address: "192.0.2.9:5060".parse().ok(),
        transport: "udp".into(),
        code,
        reason: Some(reason.into()),
        ..Try::default()
    };
    record.tries = vec![tried("first", None, "no answer"), tried("carrier", Some(200), "OK")];
    let told = shown(&record, Stage::Ended);
    for wanted in ["try=- udp 192.0.2.9:5060 first: no answer", "try=200 udp 192.0.2.9:5060 carrier: OK"] {
        assert!(told.contains(&wanted.to_owned()), "{told:#?}");
    }
    record.tries.remove(0);
    assert!(!shown(&record, Stage::Ended).iter().any(|said| said.starts_with("try=")));
}
