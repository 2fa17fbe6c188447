//! The side that answers requests.

use super::*;

/// A side that has received a request, and that request.
fn asked(transport: Transport, method: Method<'_>) -> (Side, ServerId, Vec<u8>) {
    let mut side = Side::new(transport);
    let request = request(method, "z9hG4bKone");
    let Received::Request(id) = side.receive(&request) else { panic!("a new request") };
    (side, id, request)
}

fn ack(invite: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(invite.to_vec()).unwrap();
    text.replace("INVITE", "ACK").into_bytes()
}

#[test]
fn a_repeated_invite_brings_the_last_provisional_response_again() {
    let (mut side, id, invite) = asked(UDP, Method::Invite);
    assert_eq!(side.receive(&invite), Received::Absorbed);
    assert_eq!(side.take_times(), [], "nothing to repeat yet");
    side.respond(id, response(&invite, 100, b""));
    side.respond(id, response(&invite, 180, b"b"));
    assert_eq!(side.receive(&invite), Received::Absorbed);
    let statuses: Vec<_> = side.take_times().into_iter().map(|(_, status)| status).collect();
    assert_eq!(statuses, ["100", "180", "180"]);
}

#[test]
fn a_failure_is_repeated_until_its_ack() {
    let (mut side, id, invite) = asked(UDP, Method::Invite);
    side.respond(id, response(&invite, 486, b"b"));
    side.run_until(2 * S);
    assert_eq!(side.receive(&invite), Received::Absorbed);
    let times: Vec<_> = side.take_times().into_iter().map(|(at, _)| at).collect();
    assert_eq!(times, [0, 500, 1_500, 2_000], "timer G, and once for the INVITE");
    assert_eq!(side.receive(&ack(&invite)), Received::Absorbed);
    assert_eq!(side.receive(&ack(&invite)), Received::Absorbed);
    side.run_until(40 * S);
    assert_eq!(side.take_times(), []);
    assert_eq!(side.take_events(), [(7_000, Event::ServerEnded(id))], "timer I");
    side.assert_idle();
}

#[test]
fn a_failure_whose_ack_is_lost_is_repeated_up_to_every_t2_until_timer_h() {
    let (mut side, id, invite) = asked(UDP, Method::Invite);
    side.respond(id, response(&invite, 486, b"b"));
    side.run_until(40 * S);
    let times: Vec<_> = side.take_times().into_iter().map(|(at, _)| at).collect();
    assert_eq!(times, [0, 500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]);
    assert_eq!(side.take_events(), [(32_000, Event::NoAck(id)), (32_000, Event::ServerEnded(id))]);
    side.assert_idle();
}

#[test]
fn a_failure_over_tcp_is_sent_once() {
    let (mut side, id, invite) = asked(TCP, Method::Invite);
    side.respond(id, response(&invite, 486, b"b"));
    side.run_until(10 * S);
    assert_eq!(side.take_times().len(), 1);
    assert_eq!(side.receive(&ack(&invite)), Received::Absorbed);
    side.run_until(10 * S);
    assert_eq!(side.take_events(), [(10_000, Event::ServerEnded(id))]);
    side.assert_idle();
}

#[test]
fn a_2xx_is_repeated_by_the_user_and_absorbs_the_invite_until_timer_l() {
    let (mut side, id, invite) = asked(UDP, Method::Invite);
    let ok = response(&invite, 200, b"b");
    side.respond(id, ok.clone());
    assert_eq!(side.receive(&invite), Received::Absorbed);
    side.run_until(500 * MS);
    side.respond(id, ok);
    assert_eq!(side.take_times(), [(0, "200".to_owned()), (500, "200".to_owned())]);
    let mut other_branch = request(Method::Ack, "z9hG4bKtwo");
    assert_eq!(side.receive(&other_branch), Received::Ack);
    other_branch = ack(&invite);
    assert_eq!(side.receive(&other_branch), Received::Ack, "from a peer that keeps the branch");
    side.run_until(40 * S);
    assert_eq!(side.take_events(), [(32_000, Event::ServerEnded(id))]);
    side.assert_idle();
}

#[test]
fn a_2xx_given_again_is_a_retransmission() {
    let (mut side, id, invite) = asked(UDP, Method::Invite);
    let ok = response(&invite, 200, b"b");
    side.respond(id, ok.clone());
    side.respond(id, ok);
    let flags: Vec<_> = side.sent.iter().map(|(_, transmit)| transmit.retransmission).collect();
    assert_eq!(flags, [false, true]);
}

#[test]
fn another_failure_after_the_final_response_is_dropped() {
    let (mut side, id, invite) = asked(UDP, Method::Invite);
    side.respond(id, response(&invite, 487, b"b"));
    side.respond(id, response(&invite, 200, b"b"));
    side.respond(id, response(&invite, 180, b"b"));
    assert_eq!(side.take_times(), [(0, "487".to_owned())]);
}

#[test]
fn a_cancel_is_answered_and_told_once() {
    let (mut side, id, invite) = asked(UDP, Method::Invite);
    side.respond(id, response(&invite, 180, b"b"));
    side.take_sent();
    let cancel = request(Method::Cancel, "z9hG4bKone");
    assert_eq!(side.receive(&cancel), Received::Cancel { invite: Some(id) });
    assert_eq!(side.receive(&cancel), Received::Absorbed);
    let answers = side.take_sent();
    assert_eq!(answers.len(), 2);
    assert_eq!(answers[0], answers[1]);
    let answer = answers[0].view();
    assert_eq!((answer.status(), answer.cseq().unwrap().method), (Some(200), Method::Cancel));
    assert_eq!(answer.to().unwrap().tag(), Some(&b"b"[..]), "the tag of the INVITE's answer");
    side.respond(id, response(&invite, 487, b"b"));
    assert_eq!(side.receive(&ack(&invite)), Received::Absorbed);
    assert_eq!(side.layer.len(), 1, "the CANCEL takes no transaction");
}

#[test]
fn a_cancel_before_any_answer_is_answered_with_a_tag_too() {
    let (mut side, id, _) = asked(UDP, Method::Invite);
    assert_eq!(side.receive(&request(Method::Cancel, "z9hG4bKone")), Received::Cancel { invite: Some(id) });
    assert!(side.take_sent()[0].view().to().unwrap().tag().is_some());
}

#[test]
fn a_cancel_after_the_answer_changes_nothing() {
    let (mut side, id, invite) = asked(UDP, Method::Invite);
    side.respond(id, response(&invite, 200, b"b"));
    side.take_sent();
    assert_eq!(side.receive(&request(Method::Cancel, "z9hG4bKone")), Received::Absorbed);
    assert_eq!(side.take_times(), [(0, "200".to_owned())]);
}

#[test]
fn a_cancel_of_nothing_is_answered_481() {
    let (mut side, _, _) = asked(UDP, Method::Options);
    let cancel = request(Method::Cancel, "z9hG4bKone");
    assert_eq!(side.receive(&cancel), Received::Cancel { invite: None }, "an OPTIONS cannot be cancelled");
    assert_eq!(side.take_times(), [(0, "481".to_owned())]);
}

#[test]
fn other_requests_are_absorbed_and_answered_again_until_timer_j() {
    let (mut side, id, bye) = asked(UDP, Method::Bye);
    assert_eq!(side.receive(&bye), Received::Absorbed);
    assert_eq!(side.take_times(), []);
    side.respond(id, response(&bye, 200, b"b"));
    side.run_until(S);
    assert_eq!(side.receive(&bye), Received::Absorbed);
    assert_eq!(side.take_times(), [(0, "200".to_owned()), (1_000, "200".to_owned())]);
    side.run_until(40 * S);
    assert_eq!(side.take_events(), [(32_000, Event::ServerEnded(id))]);
    side.assert_idle();
    assert!(matches!(side.receive(&bye), Received::Request(again) if again != id), "a new one, with a new name");
}

#[test]
fn other_requests_over_tcp_are_over_when_answered() {
    let (mut side, id, bye) = asked(TCP, Method::Bye);
    side.respond(id, response(&bye, 200, b"b"));
    side.run_until(0);
    assert_eq!(side.take_events(), [(0, Event::ServerEnded(id))]);
    side.assert_idle();
}

#[test]
fn requests_are_told_apart_by_branch_sent_by_and_method() {
    // Within a dialog, where no request is taken for a copy of another.
    let text = String::from_utf8(request(Method::Invite, "z9hG4bKone")).unwrap();
    let text = text.replace("To: <sip:bob@192.0.2.2>", "To: <sip:bob@192.0.2.2>;tag=b");
    let mut side = Side::new(UDP);
    let Received::Request(first) = side.receive(text.as_bytes()) else { panic!("a new request") };
    for other in [
        text.replace("z9hG4bKone", "z9hG4bKtwo"),
        text.replace("192.0.2.1:5060;branch", "192.0.2.1:5062;branch"),
        text.replace("192.0.2.1:5060;branch", "192.0.2.7:5060;branch"),
        text.replace("INVITE", "UPDATE"),
    ] {
        assert!(matches!(side.receive(other.as_bytes()), Received::Request(id) if id != first));
    }
    let same = text.replace("192.0.2.1:5060;branch", "192.0.2.1;branch");
    assert_eq!(side.receive(same.as_bytes()), Received::Absorbed, "5060 is what no port means");
}

#[test]
fn a_copy_that_took_another_path_is_answered_482() {
    let (mut side, id, invite) = asked(UDP, Method::Invite);
    let other_path = Flow::new(1, UDP, "192.0.2.9:5060".parse().unwrap());
    let copy = request(Method::Invite, "z9hG4bKtwo");
    for _ in 0..2 {
        assert_eq!(side.receive_on(other_path, &copy), Received::Absorbed);
    }
    assert!(side.sent.iter().all(|(_, transmit)| transmit.flow == other_path));
    let answers = side.take_sent();
    assert_eq!(answers.len(), 2);
    assert_eq!(answers[0], answers[1], "with the same tag");
    assert_eq!(answers[0].view().status(), Some(482));
    assert!(answers[0].view().to().unwrap().tag().is_some());
    assert_eq!(answers[0].view().via().unwrap().branch, Some(&b"z9hG4bKtwo"[..]));
    assert_eq!(side.layer.len(), 1, "it takes no transaction");
    assert_eq!(side.receive_on(other_path, &ack(&copy)), Received::Ack, "to nothing that the layer knows");

    side.respond(id, response(&invite, 200, b"b"));
    side.take_sent();
    assert_eq!(side.receive(&copy), Received::Absorbed);
    assert_eq!(side.take_times(), [(0, "482".to_owned())], "an accepted INVITE is still going on");
    side.run_until(40 * S);
    side.assert_idle();
}

#[test]
fn only_a_copy_is_taken_for_one() {
    for (from, to) in [
        ("Call-ID: call", "Call-ID: other"),
        ("CSeq: 7", "CSeq: 8"),
        (";tag=a", ";tag=c"),
        (";tag=a", ""),
        ("To: <sip:bob@192.0.2.2>", "To: <sip:bob@192.0.2.2>;tag=b"),
        ("INVITE", "OPTIONS"),
    ] {
        let (mut side, first, _) = asked(UDP, Method::Invite);
        let other = String::from_utf8(request(Method::Invite, "z9hG4bKtwo")).unwrap().replace(from, to);
        let received = side.receive(other.as_bytes());
        assert!(matches!(received, Received::Request(id) if id != first), "{to}: {received:?}");
    }
}

#[test]
fn another_try_after_a_refusal_is_no_copy() {
    let (mut side, first, invite) = asked(UDP, Method::Invite);
    side.respond(first, response(&invite, 503, b"b"));
    let retry = request(Method::Invite, "z9hG4bKtwo");
    let Received::Request(second) = side.receive(&retry) else { panic!("a new request") };
    side.receive(&ack(&invite));
    side.run_until(10 * S);
    assert_eq!(side.take_events(), [(5_000, Event::ServerEnded(first))]);
    side.take_sent();
    assert_eq!(side.receive(&request(Method::Invite, "z9hG4bKthree")), Received::Absorbed, "the retry lives on");
    assert_eq!(side.take_times(), [(10_000, "482".to_owned())]);
    side.respond(second, response(&retry, 404, b"b"));
    side.run_until(50 * S);
    side.assert_idle();
}

#[test]
fn peers_do_not_collide_whatever_their_vias_claim() {
    for branch in ["z9hG4bKone", "1"] {
        let (mut side, invite) = (Side::new(UDP), request(Method::Invite, branch));
        let Received::Request(first) = side.receive(&invite) else { panic!("a new request") };
        let elsewhere = Flow { remote: "192.0.2.9:5070".parse().unwrap(), ..side.flow };
        let other_listener = Flow { listener: 1, ..side.flow };
        for stranger in [elsewhere, other_listener] {
            let cancel = request(Method::Cancel, branch);
            assert_eq!(side.receive_on(stranger, &cancel), Received::Cancel { invite: None });
            assert_eq!(side.take_times(), [(0, "481".to_owned())]);
            let received = side.receive_on(stranger, &invite);
            assert!(matches!(received, Received::Request(id) if id != first), "{received:?}");
        }
        let ipv4_mapped = Flow { remote: "[::ffff:192.0.2.2]:4096".parse().unwrap(), ..side.flow };
        assert_eq!(side.receive_on(ipv4_mapped, &invite), Received::Absorbed, "the same host from another port");
        let cancel = request(Method::Cancel, branch);
        assert_eq!(side.receive_on(ipv4_mapped, &cancel), Received::Cancel { invite: Some(first) });
    }
}

#[test]
fn an_ack_of_a_stranger_does_not_end_the_repetition_of_a_failure() {
    let (mut side, id, invite) = asked(UDP, Method::Invite);
    side.respond(id, response(&invite, 486, b"b"));
    let stranger = Flow { remote: "192.0.2.9:5070".parse().unwrap(), ..side.flow };
    assert_eq!(side.receive_on(stranger, &ack(&invite)), Received::Ack, "to nothing that the layer knows");
    side.run_until(500 * MS);
    assert_eq!(side.take_times().len(), 2);
}

#[test]
fn a_cancel_with_another_call_id_cancels_nothing() {
    let (mut side, id, _) = asked(UDP, Method::Invite);
    let cancel = String::from_utf8(request(Method::Cancel, "z9hG4bKone")).unwrap();
    let other = cancel.replace("Call-ID: call", "Call-ID: other");
    assert_eq!(side.receive(other.as_bytes()), Received::Cancel { invite: None });
    assert_eq!(side.take_times(), [(0, "481".to_owned())]);
    assert_eq!(side.receive(cancel.as_bytes()), Received::Cancel { invite: Some(id) });
}

#[test]
fn without_the_cookie_requests_match_like_rfc2543() {
    let mut side = Side::new(UDP);
    let invite = request(Method::Invite, "1");
    let Received::Request(id) = side.receive(&invite) else { panic!("a new request") };
    assert_eq!(side.receive(&invite), Received::Absorbed);
    let text = String::from_utf8(invite.clone()).unwrap();
    assert!(matches!(side.receive(text.replace("CSeq: 7", "CSeq: 8").as_bytes()), Received::Request(_)));
    assert!(matches!(side.receive(text.replace("Call-ID: call", "Call-ID: 2").as_bytes()), Received::Request(_)));
    side.respond(id, response(&invite, 404, b"b"));
    let ack = text.replace("INVITE", "ACK").replace("To: <sip:bob@192.0.2.2>", "To: <sip:bob@192.0.2.2>;tag=b");
    assert_eq!(side.receive(ack.as_bytes()), Received::Absorbed);
    side.run_until(5 * S);
    assert_eq!(side.take_events(), [(5_000, Event::ServerEnded(id))]);
}

#[test]
fn responses_go_where_the_via_asks() {
    let invite = String::from_utf8(request(Method::Invite, "z9hG4bKone")).unwrap();
    let to = |transport, via: &str| {
        let request = owned(invite.replace("192.0.2.1:5060;branch=z9hG4bKone;rport", via).as_bytes());
        response_flow(peer(transport), request.view()).remote.to_string()
    };
    assert_eq!(to(UDP, "192.0.2.1:5060;branch=z9hG4bKone;rport"), "192.0.2.2:5070");
    assert_eq!(to(UDP, "192.0.2.1:5080;branch=z9hG4bKone"), "192.0.2.2:5080");
    assert_eq!(to(UDP, "192.0.2.1;branch=z9hG4bKone"), "192.0.2.2:5060");
    assert_eq!(to(UDP, "192.0.2.1;maddr=192.0.2.9;branch=z9hG4bKone"), "192.0.2.2:5060");
    assert_eq!(to(TCP, "192.0.2.1:5080;branch=z9hG4bKone"), "192.0.2.2:5070", "a connection is its own way back");
}

#[test]
fn where_the_connection_has_ended_the_answer_goes_to_the_port_of_the_via() {
    let (mut side, id, invite) = asked(TCP, Method::Invite);
    assert!(side.layer.unanswered(side.flow).is_empty(), "it is not ours");
    side.layer.broken(side.now, side.flow);
    side.respond(id, response(&invite, 200, b"b"));
    let sent: Vec<_> = side.sent.iter().map(|(_, transmit)| transmit.flow).collect();
    assert_eq!(sent.last(), Some(&Flow { remote: "192.0.2.2:5060".parse().unwrap(), ..side.flow }));
}
