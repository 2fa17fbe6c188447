//! What real peers do that naive back-to-back user agents break on, or let through.

use moorline_b2bua::{Input, MediaInput, Outcome};

use crate::harness::*;

fn video(ip: &str, port: u16, video_port: u16) -> String {
    format!("{}m=video {video_port} RTP/AVP 96\r\n", sdp(ip, port))
}

/// The caller's INVITE goes out; what the callee sees of it.
fn invited(net: &mut Net, request: &str) -> Message {
    net.receive(CALLER, request);
    net.expect(CALLER, "SIP/2.0 100");
    net.expect(CALLEE, "INVITE")
}

#[test]
fn a_recording_proxy_before_the_caller_stays_on_the_way() {
    let mut net = Net::new();
    let routes = "Record-Route: <sip:192.0.2.5;lr>\r\nRecord-Route: <sip:192.0.2.6;lr>\r\n";
    let request = invite("5551000", "c1", &sdp("192.0.2.10", 4000)).replace("From:", &format!("{routes}From:"));
    let out = invited(&mut net, &request);
    assert_eq!(out.find("Record-Route"), None);
    net.receive(CALLEE, &answer(&out, "180 Ringing", "bob", CALLEE, ""));
    assert!(net.expect(CALLER, "SIP/2.0 180").0.contains(routes));
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    let ok = net.expect(CALLER, "SIP/2.0 200");
    assert!(ok.0.contains(routes));
    net.receive(CALLER, &caller_request("ACK", 1, "c1", ok.tag("To"), ""));
    net.expect(CALLEE, "ACK");
    // Our own requests go the same way.
    net.receive(CALLEE, &callee_request("BYE", 1, &out, "bob", ""));
    let bye = net.expect("192.0.2.5:5060", "BYE sip:2001@192.0.2.10:5060");
    assert!(bye.0.contains("Route: <sip:192.0.2.5;lr>"));
}

#[test]
fn a_description_never_crosses_unread() {
    let mut net = Net::new();
    let types = [
        ("d1", "Content-Type: application / sdp"),
        ("d2", "Content-Type: text/plain\r\nContent-Type: application/sdp"),
        ("d3", "X-No-Type: 1"),
        ("d4", "Content-Encoding: gzip\r\nContent-Type: application/sdp"),
    ];
    for (call_id, line) in types {
        let request = invite("5551000", call_id, &sdp("192.0.2.10", 4000));
        net.receive(CALLER, &request.replace("Content-Type: application/sdp", line));
        for (to, message) in net.take_sent() {
            let status = message.start().to_owned();
            assert!(to == CALLER || !message.0.contains("192.0.2.10"), "{line}: {}", message.0);
            assert!(to == CALLEE || status.contains("100") || status.contains("415"), "{line}: {status}");
        }
    }
}

#[test]
fn a_stream_without_a_port_here_is_shown_as_refused() {
    // The answer revives what the offer had refused.
    let mut net = Net::new();
    let out = invited(&mut net, &invite("5551000", "c1", &video("192.0.2.10", 4000, 0)));
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &video("198.51.100.20", 6000, 7000)));
    let ok = net.expect(CALLER, "SIP/2.0 200");
    assert!(ok.body().contains("m=video 0 ") && !ok.0.contains("198.51.100."), "{}", ok.0);
}

#[test]
fn what_an_early_answer_refuses_the_final_one_may_accept() {
    let mut net = Net::new();
    let out = invited(&mut net, &invite("5551000", "c1", &video("192.0.2.10", 4000, 4002)));
    let announcement = video("198.51.100.22", 6000, 0);
    net.receive(CALLEE, &answer(&out, "183 Session Progress", "announcer", CALLEE, &announcement));
    net.expect(CALLER, "SIP/2.0 183");
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &video("198.51.100.20", 6000, 7000)));
    let ok = net.expect(CALLER, "SIP/2.0 200");
    assert!(ok.body().contains("m=video 20002 "), "{}", ok.body());
    assert!(!ok.0.contains("198.51.100."), "{}", ok.0);
    assert!(net.session().1.legs.iter().all(|leg| leg.streams[1].active));
}

#[test]
fn an_answer_with_fewer_streams_refuses_the_rest() {
    let mut net = Net::new();
    let out = invited(&mut net, &invite("5551000", "c1", &video("192.0.2.10", 4000, 4002)));
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    assert_eq!(net.expect(CALLER, "SIP/2.0 200").body(), sdp("192.0.2.1", 20_000));
    assert!(net.session().1.legs.iter().all(|leg| leg.streams[0].active && !leg.streams[1].active));
}

#[test]
fn bodies_and_their_headers_cross_together_or_not_at_all() {
    let mut net = Net::new();
    let out = invited(&mut net, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    let isup =
        answer(&out, "183 Session Progress", "bob", CALLEE, "ISUP").replace("application/sdp", "application/isup");
    net.receive(CALLEE, &isup);
    let progress = net.expect(CALLER, "SIP/2.0 183");
    assert_eq!((progress.header("Content-Type"), progress.body()), ("application/isup", "ISUP"));
    net.receive(CALLEE, &answer(&out, "488 Not Acceptable Here", "bob", CALLEE, &sdp("198.51.100.20", 1)));
    let refused = net.expect(CALLER, "SIP/2.0 488");
    assert_eq!((refused.find("Content-Type"), refused.body()), (None, ""));
}

#[test]
fn a_warning_is_ours_on_this_side() {
    let mut net = Net::new();
    let out = invited(&mut net, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    let warned = answer(&out, "488 Not Acceptable Here", "bob", CALLEE, "")
        .replace("Contact:", "Warning: 304 198.51.100.20:5060 \"Media type not available\"\r\nContact:");
    net.receive(CALLEE, &warned);
    let refused = net.expect(CALLER, "SIP/2.0 488");
    assert_eq!(refused.header("Warning"), "304 192.0.2.1:5060 \"Media type not available\"");
    assert!(!refused.0.contains("198.51.100."), "{}", refused.0);
}

#[test]
fn what_is_negotiated_per_leg_does_not_cross_by_its_short_name() {
    let mut net = Net::new();
    let request = invite("5551000", "c1", "").replace("Contact:", "x: 1800;refresher=uac\r\nk: timer\r\nContact:");
    let out = invited(&mut net, &request);
    assert_eq!((out.find("x"), out.find("k")), (None, None));
}

#[test]
fn a_bye_says_on_the_other_leg_why() {
    let mut net = Net::new();
    let up = establish(&mut net);
    let bye = caller_request("BYE", 2, "c1", &up.tag, "")
        .replace("Contact:", "Reason: Q.850;cause=34\r\nX-Kept: 1\r\nContact:");
    net.receive(CALLER, &bye);
    let bye = net.expect(CALLEE, "BYE");
    assert_eq!((bye.header("Reason"), bye.header("X-Kept")), ("Q.850;cause=34", "1"));
}

#[test]
fn a_private_peer_may_name_a_private_contact_and_nobody_loopback() {
    let mut private = policy();
    private.trunks[1].sources = vec!["10.0.0.0/8".parse().unwrap()];
    private.trunks[1].targets = vec!["10.0.0.5:5060".parse().unwrap()];
    let mut net = Net::with(private);
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    let out = net.expect("10.0.0.5:5060", "INVITE");
    net.receive("10.0.0.5:5060", &answer(&out, "200 OK", "bob", "10.0.0.9:5060", &sdp("198.51.100.20", 6000)));
    net.expect(CALLER, "SIP/2.0 100");
    let tag = net.expect(CALLER, "SIP/2.0 200").tag("To").to_owned();
    net.receive(CALLER, &caller_request("ACK", 1, "c1", &tag, ""));
    net.expect("10.0.0.9:5060", "ACK");

    for nowhere in ["127.0.0.1:22", "224.0.0.1", "0.0.0.0", "10.0.0.1"] {
        let mut net = Net::new();
        let request = invite("5551000", "c1", "")
            .replace("Contact: <sip:2001@192.0.2.10:5060>", &format!("Contact: <sip:{nowhere}>"));
        let out = invited(&mut net, &request);
        net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, ""));
        let tag = net.expect(CALLER, "SIP/2.0 200").tag("To").to_owned();
        net.receive(CALLER, &caller_request("ACK", 1, "c1", &tag, ""));
        net.receive(CALLEE, &callee_request("BYE", 1, &out, "bob", ""));
        net.expect(CALLER, "BYE");
    }
}

#[test]
fn a_dialog_belongs_to_its_trunk() {
    let mut net = Net::new();
    let up = establish(&mut net);
    // The other side's carrier has learnt the caller's identifiers.
    net.receive(CALLEE_2, &caller_request("BYE", 2, "c1", &up.tag, ""));
    net.expect(CALLEE_2, "SIP/2.0 481");
    net.receive(CALLEE_2, &caller_request("ACK", 1, "c1", &up.tag, ""));
    net.quiet();
    assert_eq!(net.counters().calls_active, 1);
}

#[test]
fn a_cancel_from_elsewhere_cancels_nothing() {
    let mut net = Net::new();
    invited(&mut net, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    let cancel = invite("5551000", "c1", "").replace("INVITE", "CANCEL");
    net.receive(CALLEE_2, &cancel);
    net.receive(CALLER, &cancel.replace("Call-ID: c1", "Call-ID: zz"));
    for (_, message) in net.take_sent() {
        assert!(message.start().contains("481"), "{}", message.0);
    }
    assert_eq!(net.counters().calls_active, 1);
}

#[test]
fn two_peers_may_have_the_same_branch() {
    let mut net = Net::new();
    let request =
        invite("5551000", "c1", "").replace(&format!("UDP {CALLER};branch"), "UDP 172.17.0.2:5060;rport;branch");
    invited(&mut net, &request);
    net.receive("192.0.2.77:5060", &request.replace("c1@", "other@").replace("tag=alice", "tag=zoe"));
    net.expect("192.0.2.77:5060", "SIP/2.0 100");
    net.expect(CALLEE, "INVITE");
}

#[test]
fn inside_an_early_dialog_nobody_hears_that_it_is_gone() {
    let mut net = Net::new();
    let out = invited(&mut net, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    // This one sets up no dialog on the callee's side: it has no tag.
    net.receive(CALLEE, &answer(&out, "180 Ringing", "", CALLEE, ""));
    let tag = net.expect(CALLER, "SIP/2.0 180").tag("To").to_owned();
    net.receive(CALLER, &caller_request("OPTIONS", 2, "c1", &tag, ""));
    net.expect(CALLER, "SIP/2.0 200");
    net.receive(CALLER, &caller_request("INFO", 3, "c1", &tag, ""));
    net.expect(CALLER, "SIP/2.0 500").header("Retry-After");
    net.receive(CALLER, &caller_request("INVITE", 4, "c1", &tag, &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 500").header("Retry-After");
    net.quiet();
}

#[test]
fn a_200_without_a_tag_may_be_repeated() {
    let mut net = Net::new();
    let out = invited(&mut net, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    let ok = answer(&out, "200 OK", "", CALLEE, &sdp("198.51.100.20", 6000));
    net.receive(CALLEE, &ok);
    net.expect(CALLER, "SIP/2.0 200");
    net.receive(CALLEE, &ok);
    net.quiet();
}

#[test]
fn each_declined_branch_is_hung_up_once() {
    let mut net = Net::new();
    let out = invited(&mut net, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    net.expect(CALLER, "SIP/2.0 200");
    for _ in 0..3 {
        net.receive(CALLEE, &answer(&out, "200 OK", "carol", CALLEE, &sdp("198.51.100.20", 6000)));
    }
    let starts: Vec<String> = net.take_sent().iter().map(|(_, m)| m.start()[..3].to_owned()).collect();
    assert_eq!(starts, ["ACK", "BYE", "ACK", "ACK"]);
}

#[test]
fn a_reinvite_is_always_finally_answered() {
    // The other party says 100 and then nothing.
    let mut net = Net::new();
    let up = establish(&mut net);
    net.receive(CALLER, &caller_request("INVITE", 2, "c1", &up.tag, &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&out, "100 Trying", "bob", CALLEE, ""));
    net.advance(180 * SECOND);
    net.expect(CALLEE, "CANCEL");
    net.expect(CALLER, "SIP/2.0 408");
    assert_eq!(net.counters().calls_active, 1);

    // The media process is away.
    let mut net = Net::new();
    let up = establish(&mut net);
    net.input(Input::Media(MediaInput::Disconnected));
    net.receive(CALLER, &caller_request("INVITE", 2, "c1", &up.tag, &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 503");

    // It is cancelled before it went on.
    let mut net = Net::new();
    let up = establish(&mut net);
    net.media.paused = true;
    let reinvite = caller_request("INVITE", 2, "c1", &up.tag, &sdp("192.0.2.10", 4000));
    net.receive(CALLER, &reinvite);
    net.expect(CALLER, "SIP/2.0 100");
    net.receive(CALLER, &reinvite.replace("INVITE sip", "CANCEL sip").replace("2 INVITE", "2 CANCEL"));
    net.expect(CALLER, "SIP/2.0 200");
    net.expect(CALLER, "SIP/2.0 487");
    net.resume_media();
    net.quiet();
}

#[test]
fn a_bye_while_the_late_offer_waits_leaves_the_caller_with_one_answer() {
    let mut net = Net::new();
    let out = invited(&mut net, &invite("5551000", "c1", ""));
    net.media.paused = true;
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    net.receive(CALLEE, &callee_request("BYE", 1, &out, "bob", ""));
    net.expect(CALLEE, "SIP/2.0 200");
    net.expect(CALLER, "SIP/2.0 487");
    net.resume_media();
    let bye_to_caller = net.take_sent().iter().any(|(to, m)| to == CALLER && m.start().starts_with("BYE"));
    assert!(!bye_to_caller, "the 487 has ended the dialog");
    assert!(
        net.observed
            .iter()
            .any(|o| { matches!(o, moorline_b2bua::Observation::Ended { outcome: Outcome::CalleeHungUp, .. }) })
    );
}

#[test]
fn a_bad_request_is_answered_with_a_tag() {
    let mut net = Net::new();
    net.receive(CALLER, &invite("5551000", "c1", "").replace("Call-ID: c1@192.0.2.10\r\n", ""));
    net.expect(CALLER, "SIP/2.0 400").tag("To");
}

#[test]
fn a_reinvite_lets_the_latch_follow_a_rebound_nat() {
    let mut net = Net::new();
    let up = establish(&mut net);
    assert_eq!(net.session().1.legs[0].streams[0].relatch, 0);
    net.receive(CALLER, &caller_request("INVITE", 2, "c1", &up.tag, &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    let legs = net.session().1.legs;
    assert_eq!((legs[0].streams[0].relatch, legs[1].streams[0].relatch), (1, 0));
}

#[test]
fn a_cancel_says_on_the_other_leg_why() {
    let mut net = Net::new();
    let out = invited(&mut net, &invite("5551000", "c1", ""));
    net.receive(CALLEE, &answer(&out, "180 Ringing", "bob", CALLEE, ""));
    let cancel = invite("5551000", "c1", "").replace("INVITE", "CANCEL");
    let elsewhere = "SIP;cause=200;text=\"Call completed elsewhere\"";
    net.receive(CALLER, &cancel.replace("Contact:", &format!("Reason: {elsewhere}\r\nContact:")));
    assert_eq!(net.expect(CALLEE, "CANCEL").header("Reason"), elsewhere);
}

#[test]
fn the_answer_goes_on_when_media_can_flow() {
    let mut net = Net::new();
    let out = invited(&mut net, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.media.paused = true;
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    net.quiet();
    // The callee repeats its 200; the media process is slow, not gone.
    net.advance(SECOND);
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    net.quiet();
    net.resume_media();
    let tag = net.expect(CALLER, "SIP/2.0 200").tag("To").to_owned();
    net.receive(CALLER, &caller_request("ACK", 1, "c1", &tag, ""));
    net.expect(CALLEE, "ACK");
    net.quiet();
}

#[test]
fn a_cancel_before_the_answer_went_on_hangs_up_the_callee() {
    let mut net = Net::new();
    let out = invited(&mut net, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.media.paused = true;
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    net.receive(CALLER, &invite("5551000", "c1", "").replace("INVITE", "CANCEL"));
    net.expect(CALLER, "SIP/2.0 200");
    net.expect(CALLER, "SIP/2.0 487");
    net.expect(CALLEE, "ACK");
    net.expect(CALLEE, "BYE");
    net.resume_media();
    net.quiet();
    net.nothing_left();
}

#[test]
fn an_answer_that_comes_while_the_media_process_restarts_goes_on_after_it() {
    let mut net = Net::new();
    let out = invited(&mut net, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.input(Input::Media(MediaInput::Disconnected));
    net.media.sessions.clear();
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    net.quiet();
    net.input(Input::Media(MediaInput::Connected(hello(2))));
    assert_eq!(net.expect(CALLER, "SIP/2.0 200").body(), sdp("192.0.2.1", 20_000));
}

#[test]
fn what_the_callee_asks_before_the_caller_has_heard_its_answer_does_not_end_the_call() {
    let mut net = Net::new();
    let out = invited(&mut net, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.media.paused = true;
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    net.receive(CALLEE, &callee_request("OPTIONS", 1, &out, "bob", ""));
    net.expect(CALLEE, "SIP/2.0 200");
    net.receive(CALLEE, &callee_request("INFO", 2, &out, "bob", ""));
    assert!(net.expect(CALLEE, "SIP/2.0 500").find("Retry-After").is_some());
    net.quiet();
    net.resume_media();
    net.expect(CALLER, "SIP/2.0 200");
    net.receive(CALLEE, &callee_request("INFO", 3, &out, "bob", ""));
    net.expect(CALLER, "INFO");
}

#[test]
fn a_bye_that_was_overtaken_is_said_again_once() {
    let mut net = Net::new();
    let up = establish(&mut net);
    net.receive(CALLEE, &callee_request("BYE", 1, &up.invite, "bob", ""));
    net.expect(CALLEE, "SIP/2.0 200");
    for cseq in ["1 BYE", "2 BYE"] {
        let bye = net.expect(CALLER, "BYE");
        assert_eq!(bye.header("CSeq"), cseq);
        net.receive(CALLER, &answer(&bye, "500 Server Internal Error", "", CALLER, ""));
    }
    net.quiet();
    net.nothing_left();
}
