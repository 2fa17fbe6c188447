//! Refused callers who are told why: early media with an announcement, and then the final answer.

use moorline_b2bua::policy::{Policy, Refusal, Route, Routes, Way};
use moorline_b2bua::{Input, MediaInput, Observation, Outcome};
use moorline_control::{Codec, Event, Play, RefusalCode, SessionId, StreamSpec};

use crate::harness::*;

const SUPPORTED: &str = "Supported: 100rel\r\nAllow: INVITE, ACK, BYE, CANCEL, PRACK, UPDATE\r\n";

/// Numbers that begin with 900 are refused, with an announcement; those with 901 with one that there is not.
fn policy() -> Policy {
    let mut policy = crate::harness::policy();
    let refused = [("900", "call-restricted"), ("901", "unheard-of")].map(|(prefix, name)| {
        let refusal = Refusal { announcement: Some(name.into()), ..Refusal::new(473, "CALLED_FREQUENCY_LIMIT") };
        Route { prefix: prefix.into(), to: Way::Refuse(refusal), ..Route::default() }
    });
    let carried = Route { prefix: "555".into(), to: Way::Trunk(1), ..Route::default() };
    policy.routes = Routes::new(refused.into_iter().chain([carried]));
    policy
}

fn net() -> Net {
    Net::with(policy())
}

/// The caller's INVITE to a refused number; each call has another Call-ID.
fn refused(call_id: &str) -> String {
    invite("9001000", call_id, &sdp("192.0.2.10", 4000))
}

/// INVITE, 100, 183: the 183.
#[track_caller]
fn begin(net: &mut Net, request: &str) -> Message {
    net.receive(CALLER, request);
    net.expect(CALLER, "SIP/2.0 100");
    net.expect(CALLER, "SIP/2.0 183 Session Progress")
}

/// The only stream that the media process has open.
#[track_caller]
fn stream(net: &Net) -> (SessionId, StreamSpec) {
    let (id, spec) = net.session();
    assert_eq!(spec.legs.len(), 1, "nobody is called");
    (id, spec.legs[0].streams[0].clone())
}

/// The media process has played it to the end.
fn played(net: &mut Net) {
    let (session, _) = net.session();
    net.media_event(Event::Played { session, leg: 0, stream: 0 });
}

#[track_caller]
fn refused_at_last(net: &mut Net) {
    let answer = net.expect(CALLER, "SIP/2.0 473 CALLED_FREQUENCY_LIMIT");
    assert_eq!(answer.body(), "");
    assert!(net.media.sessions.is_empty());
}

fn outcomes(net: &Net) -> Vec<(Option<String>, Outcome)> {
    let ended = net.observed.iter().filter_map(|observed| match observed {
        Observation::Ended { to, outcome, .. } => Some((to.clone(), *outcome)),
        _ => None,
    });
    ended.collect()
}

#[test]
fn a_refused_caller_hears_why_and_then_the_final_answer() {
    let mut net = net();
    let progress = begin(&mut net, &refused("c1"));
    assert_eq!((progress.find("Require"), progress.find("RSeq")), (None, None));
    assert_eq!(
        (progress.header("Content-Type"), progress.header("Contact")),
        ("application/sdp", "<sip:192.0.2.1:5060>")
    );
    let body = progress.body();
    assert!(body.contains("c=IN IP4 192.0.2.1\r\n"), "{body}");
    assert!(
        body.ends_with("m=audio 20000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na=ptime:20\r\na=sendrecv\r\n"),
        "{body}"
    );
    let (_, stream) = stream(&net);
    let play = Play { name: "call-restricted".into(), codec: Codec::Pcma, payload_type: 8, packet_ms: 20 };
    assert_eq!((stream.play, stream.remote_rtp), (Some(play), Some("192.0.2.10:4000".parse().unwrap())));
    assert_eq!((net.counters().calls_active, net.counters().announced), (1, 1));
    net.advance(3 * SECOND);
    net.quiet();
    played(&mut net);
    refused_at_last(&mut net);
    let counters = net.counters();
    assert_eq!((counters.calls, counters.answered, counters.attempts, counters.unannounced), (0, 0, 1, 0));
    assert_eq!(outcomes(&net), [(None, Outcome::Rejected(473))]);
    net.nothing_left();
}

#[test]
fn a_caller_that_acknowledges_provisional_answers_hears_it_from_then_on() {
    let mut net = net();
    let progress = begin(&mut net, &with(&refused("c1"), SUPPORTED));
    assert_eq!(progress.header("Require"), "100rel");
    net.advance(SECOND / 2);
    assert_eq!(net.expect(CALLER, "SIP/2.0 183").0, progress.0, "again until its PRACK");
    assert_eq!(stream(&net).1.play, None);
    let prack = caller_request("PRACK", 2, "c1", progress.tag("To"), "");
    net.receive(CALLER, &with(&prack, &format!("RAck: {} 1 INVITE\r\n", progress.header("RSeq"))));
    net.expect(CALLER, "SIP/2.0 200");
    assert!(stream(&net).1.play.is_some());
    net.advance(SECOND);
    net.quiet();
    played(&mut net);
    refused_at_last(&mut net);
    net.nothing_left();
}

#[test]
fn without_a_prack_the_final_answer_is_the_one_that_was_meant() {
    let mut net = net();
    begin(&mut net, &with(&refused("c1"), SUPPORTED));
    net.advance(33 * SECOND);
    let sent = net.take_sent();
    assert!(sent.iter().all(|(_, message)| !message.start().contains(" 504 ")));
    assert!(sent.iter().any(|(_, message)| message.start() == "SIP/2.0 473 CALLED_FREQUENCY_LIMIT"));
    net.nothing_left();
}

#[test]
fn a_caller_that_gives_up_is_told_nothing_more() {
    let mut net = net();
    begin(&mut net, &refused("c1"));
    net.receive(CALLER, &invite("9001000", "c1", "").replace("INVITE", "CANCEL"));
    net.expect(CALLER, "SIP/2.0 200");
    net.expect(CALLER, "SIP/2.0 487");
    assert!(net.media.sessions.is_empty());
    assert_eq!(outcomes(&net), [(None, Outcome::Cancelled)]);
    net.nothing_left();

    let progress = begin(&mut net, &refused("c2"));
    net.receive(CALLER, &caller_request("BYE", 2, "c2", progress.tag("To"), ""));
    net.expect(CALLER, "SIP/2.0 200");
    net.expect(CALLER, "SIP/2.0 487");
    net.nothing_left();
}

#[test]
fn whoever_cannot_hear_it_is_refused_at_once() {
    let mut net = net();
    let other = |body: &str| sdp("192.0.2.10", 4000).replace("RTP/AVP 8 101", body);
    let secure = sdp("192.0.2.10", 4000).replace("RTP/AVP", "RTP/SAVP");
    for (n, body) in [
        String::new(),
        other("RTP/AVP 18 101"),
        other("RTP/AVP 9 101"),
        secure,
        sdp("0.0.0.0", 4000),
        sdp("192.0.2.10", 4000) + "a=sendonly\r\n",
        sdp("192.0.2.10", 4000) + "a=inactive\r\n",
    ]
    .iter()
    .enumerate()
    {
        net.receive(CALLER, &invite("9001000", &format!("c{n}"), body));
        refused_at_last(&mut net);
        net.quiet();
        assert_eq!(net.counters().unannounced, n as u64 + 1);
    }
    // There is none of that name.
    net.receive(CALLER, &invite("9011000", "d1", &sdp("192.0.2.10", 4000)));
    refused_at_last(&mut net);
    assert!(net.media.log.iter().all(|request| matches!(request, moorline_control::Request::List { .. })));
    assert_eq!((net.counters().announced, net.counters().calls_active), (0, 0));
    net.nothing_left();
}

#[test]
fn another_stream_than_the_one_that_speaks_is_refused() {
    let mut net = net();
    let offer = "v=0\r\no=- 1 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\nm=video 5000 RTP/AVP 96\r\n\
                 a=rtpmap:96 H264/90000\r\nm=audio 4000 RTP/AVP 18 96 0\r\na=rtpmap:96 telephone-event/8000\r\na=ptime:40\r\n";
    let progress = begin(&mut net, &invite("9001000", "c1", offer));
    let media: Vec<&str> = progress.body().lines().filter(|line| line.starts_with("m=")).collect();
    assert_eq!(media, ["m=video 0 RTP/AVP 96", "m=audio 20000 RTP/AVP 0"]);
    let (session, spec) = net.session();
    let [video, audio] = &spec.legs[0].streams[..] else { panic!("two streams") };
    assert!(!video.active && audio.active);
    let play = audio.play.as_ref().unwrap();
    assert_eq!((play.codec, play.payload_type, play.packet_ms), (Codec::Pcmu, 0, 40));
    net.media_event(Event::Played { session, leg: 0, stream: 1 });
    refused_at_last(&mut net);
    net.nothing_left();
}

#[test]
fn so_many_announcements_are_played_at_once() {
    let mut policy = policy();
    policy.limits.announcements = 1;
    let mut net = Net::with(policy);
    begin(&mut net, &refused("c1"));
    net.receive(CALLER, &refused("c2"));
    net.expect(CALLER, "SIP/2.0 473");
    net.quiet();
    assert_eq!((net.counters().announced, net.counters().unannounced), (1, 1));
    played(&mut net);
    refused_at_last(&mut net);
    begin(&mut net, &refused("c3"));
    played(&mut net);
    refused_at_last(&mut net);
    net.nothing_left();
}

#[test]
fn it_takes_the_place_of_a_call_as_long_as_it_lasts() {
    let mut policy = policy();
    policy.limits.calls = 1;
    let mut net = Net::with(policy);
    begin(&mut net, &refused("c1"));
    net.receive(CALLER, &invite("5551000", "c2", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 503");
    net.receive(CALLER, &refused("c3"));
    net.expect(CALLER, "SIP/2.0 473");
    played(&mut net);
    refused_at_last(&mut net);
    net.receive(CALLER, &invite("5551000", "c4", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    net.expect(CALLEE, "INVITE");
}

#[test]
fn without_the_media_process_the_final_answer_comes_at_once() {
    let mut net = net();
    begin(&mut net, &refused("c1"));
    net.input(Input::Media(MediaInput::Disconnected));
    net.expect(CALLER, "SIP/2.0 473 CALLED_FREQUENCY_LIMIT");
    // Nor before it has opened the session.
    net.receive(CALLER, &refused("c2"));
    net.expect(CALLER, "SIP/2.0 473 CALLED_FREQUENCY_LIMIT");
    net.quiet();
    net.input(Input::Media(MediaInput::Connected(hello(2))));
    net.media.paused = true;
    net.receive(CALLER, &refused("c3"));
    net.expect(CALLER, "SIP/2.0 100");
    net.input(Input::Media(MediaInput::Disconnected));
    net.expect(CALLER, "SIP/2.0 473 CALLED_FREQUENCY_LIMIT");
    net.media.forget_requests();
    net.input(Input::Media(MediaInput::Connected(hello(3))));
    assert!(net.media.sessions.is_empty());
    net.nothing_left();
}

#[test]
fn where_the_media_process_has_no_room_the_final_answer_comes_at_once() {
    for code in [RefusalCode::OutOfPorts, RefusalCode::NoSuchAnnouncement, RefusalCode::Unplayable] {
        let mut net = net();
        net.media.refuse = Some(moorline_control::Refusal::new(code, ""));
        net.receive(CALLER, &refused("c1"));
        net.expect(CALLER, "SIP/2.0 100");
        net.expect(CALLER, "SIP/2.0 473 CALLED_FREQUENCY_LIMIT");
        net.quiet();
        net.nothing_left();
    }
    // Where it has opened the session, and cannot play.
    let mut net = net();
    net.media.paused = true;
    net.receive(CALLER, &with(&refused("c1"), SUPPORTED));
    net.resume_media();
    net.expect(CALLER, "SIP/2.0 100");
    let progress = net.expect(CALLER, "SIP/2.0 183");
    net.media.refuse = Some(moorline_control::Refusal::new(RefusalCode::Capacity, ""));
    let prack = caller_request("PRACK", 2, "c1", progress.tag("To"), "");
    net.receive(CALLER, &with(&prack, &format!("RAck: {} 1 INVITE\r\n", progress.header("RSeq"))));
    net.expect(CALLER, "SIP/2.0 200");
    refused_at_last(&mut net);
    net.nothing_left();
}

#[test]
fn an_end_that_is_never_told_is_not_waited_for() {
    let mut net = net();
    begin(&mut net, &refused("c1"));
    net.advance(5 * SECOND - 1);
    net.quiet();
    net.advance(1);
    refused_at_last(&mut net);
    net.nothing_left();

    // A session that ends by itself ends the announcement too.
    begin(&mut net, &refused("c2"));
    let (session, _) = net.session();
    let ended = moorline_control::Ended {
        session,
        reason: moorline_control::EndReason::LeaseExpired,
        report: moorline_control::SessionReport::default(),
    };
    net.media.sessions.clear();
    net.media_event(Event::Ended(ended));
    refused_at_last(&mut net);
    net.nothing_left();
}

#[test]
fn signaling_that_is_restarted_meanwhile_ends_it() {
    let mut net = net();
    let progress = begin(&mut net, &refused("c1"));
    net.restart_signaling(policy());
    assert!(net.media.sessions.is_empty(), "nobody would end it");
    net.receive(CALLER, &invite("9001000", "c1", "").replace("INVITE", "CANCEL"));
    net.expect(CALLER, "SIP/2.0 481");
    net.receive(CALLER, &caller_request("BYE", 2, "c1", progress.tag("To"), ""));
    net.expect(CALLER, "SIP/2.0 481");
    net.nothing_left();
}

#[test]
fn what_the_caller_asks_meanwhile_has_nobody_to_go_to() {
    let mut net = net();
    let progress = begin(&mut net, &with(&refused("c1"), SUPPORTED));
    let request = |method, cseq, body: &str| caller_request(method, cseq, "c1", progress.tag("To"), body);
    // A PRACK with an offer begins it all the same: what is offered is refused.
    let prack = with(
        &request("PRACK", 2, &sdp("192.0.2.10", 4002)),
        &format!("RAck: {} 1 INVITE\r\n", progress.header("RSeq")),
    );
    net.receive(CALLER, &prack);
    net.expect(CALLER, "SIP/2.0 488");
    assert!(stream(&net).1.play.is_some());
    net.receive(CALLER, &request("UPDATE", 3, &sdp("192.0.2.10", 4002)));
    net.expect(CALLER, "SIP/2.0 488");
    net.receive(CALLER, &request("UPDATE", 4, ""));
    net.expect(CALLER, "SIP/2.0 200");
    net.receive(CALLER, &request("INFO", 5, ""));
    net.expect(CALLER, "SIP/2.0 500 Server Internal Error - Not Answered Yet");
    assert!(stream(&net).1.play.is_some());
    played(&mut net);
    refused_at_last(&mut net);
    net.quiet();
    net.nothing_left();
}
