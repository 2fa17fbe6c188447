//! What a record says of each kind of end.

use super::*;

fn at(unix_ms: i64) -> Time {
    Time { unix_ms }
}

fn answered() -> Record {
    Record { setup: at(1000), answer: Some(at(3000)), ..Record::default() }
}

#[test]
fn the_first_end_stands_and_the_duration_counts_from_the_answer() {
    let mut record = answered();
    record.ended(at(8500), Outcome::CallerHungUp);
    record.ended(at(9000), Outcome::MediaLost);
    record.lost(at(9500));
    assert_eq!((record.end, record.duration_ms), (Some(at(8500)), 5500));
    assert_eq!((record.ended_by, record.cause.as_deref()), (Some(EndedBy::Caller), Some("caller_hung_up")));
}

#[test]
fn an_answer_that_the_caller_never_heard_is_none() {
    let mut record = answered();
    record.ended(at(8500), Outcome::Cancelled);
    assert_eq!((record.answer, record.duration_ms), (None, 0));
}

#[test]
fn a_call_that_died_with_its_process_ends_no_earlier_than_it_is_known_to_have_lived() {
    let mut record = answered();
    record.lost(at(2000));
    assert_eq!((record.end, record.duration_ms), (Some(at(3000)), 0));
    assert_eq!(record.cause.as_deref(), Some("signaling_lost"));
}

#[test]
fn tries_are_bounded_and_each_has_its_own_end() {
    let mut record = Record::default();
    for number in 0..MAX_TRIES + 3 {
        record.tried(Try { call_id: number.to_string(), trunk: "t".into(), ..Try::default() });
        record.try_ended(&number.to_string(), Some(503), b"Busy Here And Now");
        record.try_ended(&number.to_string(), Some(487), b"Request Terminated");
    }
    assert_eq!(record.tries.len(), MAX_TRIES);
    assert!(record.tries.iter().all(|tried| tried.code == Some(503)));
    assert_eq!(record.tries.last().map(|tried| &tried.call_id[..]), Some("18"));
    assert_eq!((record.callee.code, record.callee.trunk.as_str()), (Some(503), "t"));
}

#[test]
fn text_of_any_length_and_kind_is_cut_to_size() {
    assert_eq!((text(b"ok"), text(b"a\nb\0")), ("ok".into(), "a b ".into()));
    assert!(text(&[0xff; 1000]).chars().count() <= MAX_TEXT);
}

#[test]
fn what_is_kept_in_a_snapshot_comes_back() {
    let mut record = answered();
    record.caller_number = "2001".into();
    record.called_number = "5551000".into();
    record.called_number_sent = "1000".into();
    record.account = "6000".into();
    let bytes = minicbor::to_vec(Kept::from(&record)).unwrap();
    let kept: Kept = minicbor::decode(&bytes).unwrap();
    assert_eq!(kept.into_record(), record);
}

#[test]
fn a_trunk_that_was_left_does_not_speak_for_the_next_one() {
    let mut record = Record::default();
    for trunk in ["first", "second"] {
        record.tried(Try { call_id: trunk.into(), trunk: trunk.into(), ..Try::default() });
    }
    record.try_ended("first", Some(487), b"Request Terminated");
    assert_eq!((record.callee.trunk.as_str(), record.callee.code), ("second", None));
    assert_eq!(record.tries[0].code, Some(487));
}
