//! What is written down of calls: of each attempt one record, whatever becomes of it.

use moorline_b2bua::cdr::{EndedBy, Stage, Time};
use moorline_b2bua::policy::{Policy, Records, Refer};
use moorline_b2bua::{Input, Output, Place, Wall, Worker};
use moorline_control::{Codec, Quality, Request, SessionReport, StreamReport};
use moorline_sip::Transport;
use moorline_sip::transaction::Flow;

use crate::harness::*;

/// When the worker's time was 0.
const ZERO_S: i64 = 1_700_000_000;

fn with_clock(policy: Policy) -> Net {
    let mut net = Net::with(policy);
    net.input(Input::Wall(Wall { unix_at_zero_ns: ZERO_S * 1_000_000_000, utc_offset_s: 0 }));
    net
}

fn clocked() -> Net {
    with_clock(policy())
}

fn at(seconds: i64) -> Time {
    Time { unix_ms: (ZERO_S + seconds) * 1000 }
}

fn stages(net: &Net) -> Vec<Stage> {
    net.marks.iter().map(|mark| mark.stage).collect()
}

fn invited(net: &mut Net) -> Message {
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    net.expect(CALLEE, "INVITE")
}

fn hung_up(net: &mut Net, up: &Up) {
    let bye = with(&caller_request("BYE", 2, "c1", &up.tag, ""), "Reason: Q.850;cause=16\r\n");
    net.receive(CALLER, &bye);
    net.expect(CALLER, "SIP/2.0 200");
    let bye = net.expect(CALLEE, "BYE");
    net.receive(CALLEE, &answer(&bye, "200 OK", "", CALLEE, ""));
}

fn report() -> SessionReport {
    let quality = Some(Quality { r_tenths: 900, mos_hundredths: 431, delay_ms: 50 });
    let audio = StreamReport {
        packets: 100,
        bytes: 17_200,
        lost: 2,
        jitter_us: 125,
        source: Some("192.0.2.10:4000".parse().unwrap()),
        payload_type: Some(8),
        codec: Codec::Pcma,
        quality,
        ..StreamReport::default()
    };
    let video = StreamReport { packets: 20, bytes: 20_000, ..StreamReport::default() };
    SessionReport { legs: vec![vec![audio, video], vec![StreamReport { packets: 90, ..audio }]], open_ms: 6000 }
}

#[test]
fn a_clock_that_is_set_during_a_call_does_not_change_its_length() {
    for leap_s in [-3600, 3600] {
        let mut net = clocked();
        let out = invited(&mut net);
        net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
        let tag = net.take_sent().pop().unwrap().1.tag("To").to_owned();
        let up = Up { tag, invite: out.clone() };
        net.receive(CALLER, &caller_request("ACK", 1, "c1", &up.tag, ""));
        net.take_sent();
        net.input(Input::Wall(Wall { unix_at_zero_ns: (ZERO_S + leap_s) * 1_000_000_000, utc_offset_s: 0 }));
        net.advance(5 * SECOND);
        hung_up(&mut net, &up);
        let record = net.record();
        assert_eq!(record.duration_ms, 5000);
        assert_eq!(record.end.unwrap().unix_ms - record.answer.unwrap().unix_ms, 5000 + leap_s * 1000);
    }
}

#[test]
fn an_answered_call_is_written_down_whole() {
    let mut net = clocked();
    net.media.report = report();
    net.advance(SECOND);
    let out = invited(&mut net);
    net.advance(2 * SECOND);
    net.receive(CALLEE, &answer(&out, "180 Ringing", "bob", CALLEE, ""));
    net.receive(CALLEE, &answer(&out, "183 Session Progress", "bob", CALLEE, ""));
    net.advance(3 * SECOND);
    net.receive(CALLEE, &answer(&out, "200 Fine", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    let tag = net.take_sent().pop().unwrap().1.tag("To").to_owned();
    let (id, _) = net.session();
    let ok = net.marks.last().unwrap().clone();
    assert_eq!((ok.stage, ok.record.caller.code), (Stage::Answered, Some(200)));
    net.advance(5 * SECOND);
    let up = Up { tag, invite: out.clone() };
    net.receive(CALLER, &caller_request("ACK", 1, "c1", &up.tag, ""));
    net.take_sent();
    hung_up(&mut net, &up);
    let all = [Stage::Begun, Stage::Ringing, Stage::Answered, Stage::Ending, Stage::Ended];
    assert_eq!(stages(&net), all);

    let record = net.record();
    assert_eq!((record.id, record.node), (id.to_string(), 1));
    assert_eq!((record.setup, record.ring, record.answer), (at(2), Some(at(4)), Some(at(7))));
    assert_eq!((record.end, record.duration_ms), (Some(at(12)), 5000));
    assert_eq!((record.ended_by, record.cause.as_deref()), (Some(EndedBy::Caller), Some("caller_hung_up")));
    assert_eq!(record.release_reason.as_deref(), Some("Q.850;cause=16"));
    assert_eq!((&*record.caller_number, &*record.called_number), ("2001", "5551000"));
    assert_eq!((&*record.caller_number_sent, &*record.called_number_sent), ("2001", "5551000"));
    assert_eq!((&*record.account, record.bypassed), ("customers", false));

    let caller = &record.caller;
    assert_eq!((&*caller.trunk, &*caller.call_id, &*caller.transport), ("customers", "c1@192.0.2.10", "udp"));
    assert_eq!((caller.code, caller.reason.as_deref()), (Some(200), Some("Fine")));
    assert_eq!(caller.signaling, Some(CALLER.parse().unwrap()));
    let media = &caller.media;
    assert_eq!((media.packets, media.bytes, media.lost, media.jitter_us), (120, 37_200, 2, 125));
    assert_eq!((media.mos, media.codec.as_deref(), media.payload_type), (Some(4.31), Some("PCMA"), Some(8)));
    assert_eq!(media.media, Some("192.0.2.10:4000".parse().unwrap()));
    assert_eq!(media.local_media, Some("192.0.2.1:20000".parse().unwrap()));
    let callee = &record.callee;
    assert_eq!((&*callee.trunk, &*callee.call_id), ("carrier", out.header("Call-ID")));
    assert_eq!((callee.code, callee.media.packets), (Some(200), 90));
    assert_eq!(callee.media.local_media, Some("198.51.100.1:20002".parse().unwrap()));
    let [tried] = &record.tries[..] else { panic!("{:?}", record.tries) };
    assert_eq!((tried.at, tried.code, &*tried.trunk), (at(2), Some(200), "carrier"));
    assert_eq!(tried.address, Some(CALLEE.parse().unwrap()));
}

#[test]
fn what_is_marked_comes_before_what_the_caller_hears() {
    let mut worker = Worker::new(Place::alone(1), policy(), Box::new(|| 7));
    let now = SECOND;
    worker.handle(now, Input::Media(moorline_b2bua::MediaInput::Connected(hello(1))));
    while worker.poll_output().is_some() {}
    for (number, called, first) in [(1, "5551000", Stage::Begun), (2, "9", Stage::Ended)] {
        let flow = Flow::new(0, Transport::Udp, CALLER.parse().unwrap());
        let text = invite(called, &format!("c{number}"), &sdp("192.0.2.10", 4000));
        worker.handle(now, Input::Message { flow, bytes: text.as_bytes() });
        let mut marked = false;
        while let Some(output) = worker.poll_output() {
            match output {
                Output::Record(mark) => {
                    assert_eq!(mark.stage, first);
                    marked = true;
                }
                Output::Transmit { .. } => assert!(marked, "the caller hears of a call that is not written down"),
                _ => {}
            }
        }
        assert!(marked);
    }
}

#[test]
fn nothing_is_marked_where_nobody_takes_it() {
    let mut net = Net::with(Policy { records: Records { kept: false, interim_ns: 0 }, ..policy() });
    let up = establish(&mut net);
    hung_up(&mut net, &up);
    net.receive(CALLER, &invite("9", "c2", ""));
    net.nothing_left();
    assert_eq!(stages(&net), []);
}

#[test]
fn a_refusal_of_the_callee() {
    let mut net = clocked();
    let out = invited(&mut net);
    net.advance(SECOND);
    net.receive(CALLEE, &answer(&out, "486 Out To Lunch", "bob", CALLEE, ""));
    let record = net.record();
    assert_eq!((record.end, record.answer, record.duration_ms), (Some(at(2)), None, 0));
    assert_eq!((record.ended_by, record.cause.as_deref()), (Some(EndedBy::Callee), Some("refused")));
    for party in [&record.caller, &record.callee] {
        assert_eq!((party.code, party.reason.as_deref()), (Some(486), Some("Out To Lunch")));
    }
    net.nothing_left();
}

#[test]
fn what_is_refused_before_there_is_a_call_has_its_record_too() {
    let mut net = clocked();
    net.receive(CALLER, &invite("9", "c1", &sdp("192.0.2.10", 4000)));
    let required = with(&invite("5551000", "c2", ""), "Require: telepathy\r\n");
    net.receive(CALLER, &required);
    let short = with(&invite("5551000", "c3", ""), "Supported: timer\r\nSession-Expires: 20\r\n");
    net.receive(CALLER, &short);
    net.receive(CALLER, &invite("5551000", "c4", "").replace("Max-Forwards: 70", "Max-Forwards: 0"));
    let records = net.records();
    let codes: Vec<_> = records.iter().map(|record| record.caller.code).collect();
    assert_eq!(codes, [404, 420, 422, 483].map(Some));
    assert_eq!(records[0].caller.reason.as_deref(), Some("Not Found - No Route"));
    assert_eq!((&*records[0].called_number, &*records[0].account), ("9", "customers"));
    let called: Vec<_> = records.iter().map(|record| &record.caller.call_id[..]).collect();
    assert_eq!(called, ["c1@192.0.2.10", "c2@192.0.2.10", "c3@192.0.2.10", "c4@192.0.2.10"]);
    for record in &records {
        assert_eq!((record.ended_by, record.cause.as_deref()), (Some(EndedBy::Moorline), Some("rejected")));
        assert_eq!((record.end, record.tries.len(), &*record.callee.trunk), (Some(at(1)), 0, ""));
    }
    // A repetition is no other attempt, and nor is what a stranger sends.
    net.receive(CALLER, &required);
    net.receive("192.0.3.66:5060", &invite("5551000", "c5", ""));
    net.nothing_left();
    assert_eq!(net.records().len(), 4);
}

#[test]
fn the_caller_cancels_and_the_callee_says_so() {
    let mut net = clocked();
    let out = invited(&mut net);
    net.receive(CALLEE, &answer(&out, "180 Ringing", "bob", CALLEE, ""));
    net.advance(3 * SECOND);
    let cancel = invite("5551000", "c1", "").replace("INVITE", "CANCEL");
    net.receive(CALLER, &with(&cancel, "Reason: SIP;cause=487\r\n"));
    assert_eq!(net.records(), []);
    let cancel = net.expect(CALLEE, "CANCEL");
    net.receive(CALLEE, &answer(&cancel, "200 OK", "bob", CALLEE, ""));
    net.receive(CALLEE, &answer(&out, "487 Request Terminated", "bob", CALLEE, ""));
    let record = net.record();
    assert_eq!((record.ended_by, record.cause.as_deref()), (Some(EndedBy::Caller), Some("cancelled")));
    assert_eq!((record.end, record.caller.code, record.callee.code), (Some(at(4)), Some(487), Some(487)));
    assert_eq!(record.release_reason.as_deref(), Some("SIP;cause=487"));
    net.nothing_left();
}

#[test]
fn an_answer_that_crosses_the_cancel_is_charged_to_nobody() {
    let mut net = clocked();
    let out = invited(&mut net);
    net.receive(CALLER, &invite("5551000", "c1", "").replace("INVITE", "CANCEL"));
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    net.nothing_left();
    let record = net.record();
    assert_eq!((record.cause.as_deref(), record.answer, record.duration_ms), (Some("cancelled"), None, 0));
    assert_eq!(record.caller.code, Some(487));
}

#[test]
fn each_try_of_a_failover_is_told() {
    let mut net = clocked();
    let out = invited(&mut net);
    net.receive(CALLEE, &answer(&out, "503 Too Busy", "x", CALLEE, ""));
    net.expect(CALLEE, "ACK");
    let again = net.expect(CALLEE_2, "INVITE");
    net.advance(SECOND);
    net.receive(CALLEE_2, &answer(&again, "404 Unknown Here", "y", CALLEE_2, ""));
    let record = net.record();
    let tries: Vec<_> = record.tries.iter().map(|t| (t.address.unwrap().to_string(), t.code)).collect();
    assert_eq!(tries, [(CALLEE.to_owned(), Some(503)), (CALLEE_2.to_owned(), Some(404))]);
    assert_eq!((record.callee.code, record.caller.code), (Some(404), Some(404)));
    assert_eq!(record.callee.signaling, Some(CALLEE_2.parse().unwrap()));
    assert_eq!(record.tries[1].call_id, again.header("Call-ID"));
    net.nothing_left();
}

#[test]
fn nobody_answers() {
    let mut net = clocked();
    invited(&mut net);
    net.advance(100 * SECOND);
    let record = net.record();
    assert_eq!((record.ended_by, record.cause.as_deref()), (Some(EndedBy::Callee), Some("refused")));
    assert_eq!((record.caller.code, record.callee.code), (Some(408), None));
    assert!(record.tries.len() == 2 && record.tries.iter().all(|tried| tried.reason.as_deref() == Some("no answer")));
    net.nothing_left();
}

#[test]
fn it_rings_for_too_long() {
    let mut net = clocked();
    let out = invited(&mut net);
    net.receive(CALLEE, &answer(&out, "180 Ringing", "bob", CALLEE, ""));
    net.advance(181 * SECOND);
    net.receive(CALLEE, &answer(&out, "487 Request Terminated", "bob", CALLEE, ""));
    let record = net.record();
    assert_eq!((record.ended_by, record.cause.as_deref()), (Some(EndedBy::Moorline), Some("rejected")));
    assert_eq!((record.caller.code, record.callee.code, record.end), (Some(408), Some(487), Some(at(181))));
    net.nothing_left();
}

#[test]
fn the_calls_of_a_transfer_name_each_other() {
    let mut policy = policy();
    policy.trunks[0].dialogs.refer = Refer::Handle;
    let mut net = with_clock(policy);
    let up = establish(&mut net);
    let (old, _) = net.session();
    let refer = caller_request("REFER", 2, "c1", &up.tag, "");
    net.receive(CALLER, &with(&refer, "Refer-To: <sip:5552000@192.0.2.1:5060>\r\nRefer-Sub: false\r\n"));
    net.expect(CALLER, "SIP/2.0 202");
    let third = net.expect(CALLEE, "INVITE sip:5552000@");
    net.receive(CALLEE, &answer(&third, "200 OK", "carol", CALLEE, &sdp("198.51.100.21", 6100)));
    net.expect(CALLEE, "ACK");
    let again = net.expect(CALLEE, "INVITE sip:198.51.100.20:5060");
    net.receive(CALLEE, &answer(&again, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6002)));
    net.expect(CALLEE, "ACK");
    net.expect(CALLER, "BYE");
    let first = net.record();
    assert_eq!((&*first.id, first.cause.as_deref()), (&*old.to_string(), Some("transferred")));
    let new = first.transferred_to.clone().unwrap();
    net.advance(3 * SECOND);
    net.receive(CALLEE, &callee_request("BYE", 9, &third, "carol", ""));
    net.nothing_left();
    let [_, second] = &net.records()[..] else { panic!("two records are expected") };
    assert_eq!((&*second.id, second.transferred_from.as_deref()), (&*new, Some(&*first.id)));
    assert_eq!((second.ended_by, second.duration_ms), (Some(EndedBy::Callee), 3000));
    assert_eq!(
        (&*second.caller.call_id, &*second.callee.call_id),
        (up.invite.header("Call-ID"), third.header("Call-ID"))
    );
    assert_eq!((&*second.caller.trunk, &*second.called_number), ("carrier", "5552000"));
}

#[test]
fn a_call_that_outlives_signaling_has_one_record_with_all_that_was_known() {
    let mut net = clocked();
    let up = establish(&mut net);
    net.media.report = report();
    net.restart_signaling(policy());
    net.input(Input::Wall(Wall { unix_at_zero_ns: ZERO_S * 1_000_000_000, utc_offset_s: 0 }));
    net.advance(10 * SECOND);
    hung_up(&mut net, &up);
    let record = net.record();
    assert_eq!((record.setup, record.answer, record.end), (at(1), Some(at(1)), Some(at(11))));
    assert_eq!((record.tries.len(), record.caller.media.packets, record.duration_ms), (1, 120, 10_000));
    net.nothing_left();
}

#[test]
fn the_snapshot_alone_makes_a_record_that_can_be_charged() {
    let mut net = clocked();
    let up = establish(&mut net);
    let (id, _) = net.session();
    net.marks.clear();
    net.restart_signaling(policy());
    net.input(Input::Wall(Wall { unix_at_zero_ns: ZERO_S * 1_000_000_000, utc_offset_s: 0 }));
    net.advance(10 * SECOND);
    hung_up(&mut net, &up);
    let record = net.record();
    assert_eq!((&*record.id, record.setup, record.answer), (&*id.to_string(), at(1), Some(at(1))));
    assert_eq!((record.duration_ms, &*record.account), (10_000, "customers"));
    assert_eq!((&*record.caller_number, &*record.called_number), ("2001", "5551000"));
    assert_eq!((&*record.caller.trunk, &*record.callee.trunk), ("customers", "carrier"));
    assert_eq!((&*record.caller.call_id, &*record.callee.call_id), ("c1@192.0.2.10", up.invite.header("Call-ID")));
    assert_eq!(record.callee.media.local_media, Some("198.51.100.1:20002".parse().unwrap()));
}

#[test]
fn what_rang_when_signaling_died_is_said_to_have_died_with_it() {
    let mut net = clocked();
    let out = invited(&mut net);
    net.advance(SECOND);
    net.receive(CALLEE, &answer(&out, "180 Ringing", "bob", CALLEE, ""));
    net.restart_signaling(policy());
    let record = net.record();
    assert_eq!((record.ended_by, record.cause.as_deref()), (Some(EndedBy::Moorline), Some("signaling_lost")));
    assert_eq!((record.setup, record.ring, record.answer), (at(1), Some(at(2)), None));
    assert!(record.end >= record.ring);
    net.nothing_left();
}

#[test]
fn a_call_that_ended_as_signaling_died_is_not_brought_back() {
    let mut net = clocked();
    let up = establish(&mut net);
    // The parties have hung up, and the media process never hears of it.
    net.media.paused = true;
    hung_up(&mut net, &up);
    assert_eq!(stages(&net).last(), Some(&Stage::Ending));
    net.media.forget_requests();
    net.restart_signaling(policy());
    net.take_sent();
    let record = net.record();
    assert_eq!((record.cause.as_deref(), record.ended_by), (Some("caller_hung_up"), Some(EndedBy::Caller)));
    net.nothing_left();
}

#[test]
fn a_call_whose_record_is_complete_is_closed_where_the_media_process_still_has_it() {
    let mut net = clocked();
    let up = establish(&mut net);
    net.input(Input::Media(moorline_b2bua::MediaInput::Disconnected));
    hung_up(&mut net, &up);
    assert_eq!(stages(&net).last(), Some(&Stage::Ended));
    let (id, _) = net.session();
    net.restart_signaling(policy());
    assert!(net.media.log.contains(&Request::Close { session: id }));
    assert_eq!(net.records().len(), 1);
    net.nothing_left();
}

#[test]
fn a_call_that_is_up_is_marked_now_and_then() {
    let mut net = with_clock(Policy { records: Records { kept: true, interim_ns: 60 * SECOND }, ..policy() });
    net.media.report = report();
    let up = establish(&mut net);
    net.advance(130 * SECOND);
    let going: Vec<_> = net.marks.iter().filter(|mark| mark.stage == Stage::Going).collect();
    let told: Vec<_> = going.iter().map(|mark| (mark.record.duration_ms, mark.record.caller.media.packets)).collect();
    assert_eq!(told, [(60_000, 120), (120_000, 120)]);
    hung_up(&mut net, &up);
    assert_eq!(net.record().duration_ms, 130_000);
    net.nothing_left();
}
