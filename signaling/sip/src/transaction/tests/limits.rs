//! What happens when there is no room, and to names of what is gone.

use super::*;

fn small(max_transactions: usize) -> Side {
    Side { layer: Layer::new(Timers::default(), max_transactions), ..Side::new(UDP) }
}

#[test]
fn a_request_without_room_is_answered_503() {
    let mut side = small(1);
    assert!(matches!(side.receive(&request(Method::Options, "z9hG4bKone")), Received::Request(_)));
    let other = String::from_utf8(request(Method::Options, "z9hG4bKtwo")).unwrap().replace("Call-ID: ", "Call-ID: 2");
    assert_eq!(side.receive(other.as_bytes()), Received::Full);
    let [answer] = &side.take_sent()[..] else { panic!("one answer") };
    assert_eq!(answer.view().status(), Some(503));
    assert!(answer.view().header(Name::RetryAfter).is_some());
    assert_eq!(side.receive(&request(Method::Options, "z9hG4bKone")), Received::Absorbed, "what is known lives on");
    assert_eq!(side.layer.request(0, side.flow, request(Method::Bye, "z9hG4bKthree")), Err(Full));
}

#[test]
fn a_full_table_does_not_keep_a_call_from_being_cancelled() {
    let mut side = small(1);
    let id = side.request(Method::Invite);
    side.receive(&response(&request(Method::Invite, "z9hG4bKone"), 180, b"b"));
    side.take_sent();
    side.cancel(id);
    assert_eq!(side.take_times(), [(0, "CANCEL".to_owned())]);
    assert_eq!(side.layer.len(), 2);
    assert_eq!(side.layer.request(0, side.flow, request(Method::Bye, "z9hG4bKtwo")), Err(Full));
    side.run_until(100 * S);
    side.assert_idle();
    assert!(side.layer.request(side.now, side.flow, request(Method::Bye, "z9hG4bKtwo")).is_ok());
}

#[test]
fn an_id_of_what_is_gone_names_nothing() {
    let mut side = Side::new(TCP);
    let options = request(Method::Options, "z9hG4bKone");
    let Received::Request(old) = side.receive(&options) else { panic!("a new request") };
    side.respond(old, response(&options, 200, b"b"));
    side.run_until(0);
    let Received::Request(new) = side.receive(&options) else { panic!("a new request") };
    side.take_sent();
    side.respond(old, response(&options, 404, b"b"));
    assert_eq!(side.take_times(), []);
    side.respond(new, response(&options, 200, b"b"));
    assert_eq!(side.take_times(), [(0, "200".to_owned())]);
}

#[test]
fn a_request_that_cannot_be_read_times_out() {
    let mut side = Side::new(UDP);
    let id = side.layer.request(0, side.flow, b"nonsense".to_vec()).unwrap();
    side.run_until(32 * S);
    assert!(side.take_events().contains(&(32_000, Event::ClientEnded(id))));
    side.assert_idle();
}

#[test]
fn a_thousand_calls_that_end_together_leave_nothing() {
    let mut side = small(2_000);
    for call in 0..1_000 {
        let invite = request(Method::Invite, &format!("z9hG4bK{call}"));
        let id = side.layer.request(0, side.flow, invite.clone()).unwrap();
        assert_eq!(side.receive(&response(&invite, 503, b"b")), Received::Response(id));
    }
    assert_eq!(side.layer.len(), 1_000);
    side.run_until(32 * S);
    assert_eq!(side.take_events().len(), 1_000);
    side.assert_idle();
}
