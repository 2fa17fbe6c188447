use std::hash::RandomState;

use moorline_sip::Index;

use super::Dispatch;
use crate::Place;
use crate::identity::Identities;

const WORKERS: usize = 4;

/// A message with what a dispatcher looks at.
fn message(start: &str, branch: &str, call_id: &str, to_tag: &str, extra: &str) -> String {
    let method = if start.starts_with("SIP") { "INVITE" } else { start.split(' ').next().unwrap() };
    format!(
        "{start}\r\nVia: SIP/2.0/UDP 192.0.2.1;branch={branch}\r\nFrom: <sip:a@192.0.2.1>;tag=a\r\n\
         To: <sip:b@192.0.2.2>{to_tag}\r\nCall-ID: {call_id}\r\nCSeq: 1 {method}\r\n{extra}\r\n"
    )
}

fn route(dispatch: &mut Dispatch, now: u64, text: &str, here: usize, handed: bool) -> usize {
    let mut index = Index::new();
    dispatch.route(now, index.parse(text.as_bytes()).unwrap(), here, handed)
}

/// Where a message ends up that was received by `here`, and how often it was handed over.
fn owner(dispatches: &mut [Dispatch], now: u64, text: &str, received: usize) -> (usize, usize) {
    let (mut here, mut handed) = (received, 0);
    loop {
        let next = route(&mut dispatches[here], now, text, here, handed > 0);
        if next == here {
            return (here, handed);
        }
        (here, handed) = (next, handed + 1);
        assert!(handed <= 2, "handed on and on:\n{text}");
    }
}

fn dispatches() -> Vec<Dispatch> {
    let hash = RandomState::new();
    (0..WORKERS).map(|_| Dispatch::new(WORKERS, hash.clone())).collect()
}

fn identities(index: usize) -> Identities {
    let mut state = index as u64;
    let entropy = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state
    };
    Identities::new(Place { index, of: WORKERS, ..Place::alone(9) }, Box::new(entropy))
}

#[test]
fn what_this_process_named_goes_to_who_named_it() {
    let mut all = dispatches();
    for index in 0..WORKERS {
        let mut identities = identities(index);
        let call = identities.call();
        let tag = format!(";tag={}", identities.token(call));
        let branch = identities.branch(call);
        for received in 0..WORKERS {
            let handed = usize::from(received != index);
            for start in ["ACK sip:x SIP/2.0", "BYE sip:x SIP/2.0", "INVITE sip:x SIP/2.0", "CANCEL sip:x SIP/2.0"] {
                let request = message(start, "z9hG4bKtheirs", "theirs", &tag, "");
                assert_eq!(owner(&mut all, 0, &request, received), (index, handed), "{start}");
            }
            let response = message("SIP/2.0 200 Fine", &branch, "whatever", ";tag=theirs", "");
            assert_eq!(owner(&mut all, 0, &response, received), (index, handed));
        }
    }
}

#[test]
fn what_others_named_goes_by_its_call_id_alone() {
    let mut all = dispatches();
    let mut load = [0; WORKERS];
    for call in 0..1000 {
        let call_id = format!("{call}@pbx.example");
        let invite = message("INVITE sip:x SIP/2.0", &format!("z9hG4bK{call}"), &call_id, "", "");
        let (first, _) = owner(&mut all, 0, &invite, 0);
        load[first] += 1;
        for received in 1..WORKERS {
            assert_eq!(owner(&mut all, 0, &invite, received), (first, usize::from(received != first)));
        }
        for start in ["CANCEL sip:x SIP/2.0", "OPTIONS sip:x SIP/2.0", "ACK sip:x SIP/2.0"] {
            let to = if start.starts_with("ACK") { ";tag=00112233445566ff" } else { "" };
            let other = message(start, &format!("z9hG4bK{call}"), &call_id, to, "");
            assert_eq!(owner(&mut all, 0, &other, call % WORKERS).0, first, "{start}");
        }
    }
    assert!(load.iter().all(|load| (150..350).contains(load)), "{load:?}");
}

#[test]
fn bindings_are_kept_by_the_first_worker() {
    let mut all = dispatches();
    for call in 0..20 {
        let register = message("REGISTER sip:x SIP/2.0", "z9hG4bKr", &format!("{call}"), "", "");
        for received in 0..WORKERS {
            assert_eq!(owner(&mut all, 0, &register, received).0, 0);
        }
    }
}

#[test]
fn what_replaces_a_dialog_joins_it_and_so_does_its_cancel() {
    let mut all = dispatches();
    for index in 0..WORKERS {
        let mut identities = identities(index);
        let call = identities.call();
        let ours = identities.token(call);
        for number in 0..20 {
            // In a dialog that we have named in a REFER, the other tag is ours.
            let (to, from) = if number % 2 == 0 { ("to", "from") } else { ("from", "to") };
            let replaces = format!("Replaces: 98732@x;{from}-tag=r33th4x0r;{to}-tag={ours}\r\n");
            let (branch, call_id) = (format!("z9hG4bK{index}{number}"), format!("{number}@x"));
            let invite = message("INVITE sip:x SIP/2.0", &branch, &call_id, "", &replaces);
            let cancel = message("CANCEL sip:x SIP/2.0", &branch, &call_id, "", "");
            assert_eq!(owner(&mut all, 0, &invite, number % WORKERS).0, index);
            assert_eq!(owner(&mut all, 1, &invite, (number + 1) % WORKERS).0, index, "repeated");
            assert_eq!(owner(&mut all, 2, &cancel, (number + 2) % WORKERS).0, index);
        }
    }
    let foreign = message("INVITE sip:x SIP/2.0", "z9hG4bKf", "f@x", "", "Replaces: 1@x;from-tag=a;to-tag=b\r\n");
    let plain = message("INVITE sip:x SIP/2.0", "z9hG4bKf", "f@x", "", "");
    assert_eq!(owner(&mut all, 0, &foreign, 1).0, owner(&mut all, 0, &plain, 1).0, "a dialog of somebody else's");
}

#[test]
fn detours_are_forgotten_in_time_and_bounded() {
    let mut all = dispatches();
    let mut identities = identities(3);
    let call = identities.call();
    let replaces = format!("Replaces: 1@x;from-tag=a;to-tag={}\r\n", identities.token(call));
    for number in 0..20_000 {
        let invite = message("INVITE sip:x SIP/2.0", &format!("z9hG4bK{number}"), &format!("{number}"), "", &replaces);
        owner(&mut all, number, &invite, 0);
    }
    assert!(all.iter().all(|one| one.detours.len() <= super::DETOURS && one.detours.len() == one.detoured.len()));
    let later = message("INVITE sip:x SIP/2.0", "z9hG4bKlast", "last", "", &replaces);
    owner(&mut all, super::DETOUR_NS * 2, &later, 0);
    assert_eq!(all.iter().filter(|one| one.detours.len() == 1).count(), 1, "the one that led the last");
}

#[test]
fn one_worker_owns_everything() {
    let mut alone = Dispatch::new(1, RandomState::new());
    let invite = message("INVITE sip:x SIP/2.0", "z9hG4bK1", "1", ";tag=0009ff0123456789abcdef", "");
    assert_eq!(route(&mut alone, 0, &invite, 0, false), 0);
}
