//! Bookkeeping of bindings, by rules that hold for any sequence of requests.

use std::net::SocketAddr;

use moorline_sip::transaction::Flow;
use moorline_sip::{Index, Transport};
use proptest::prelude::*;

use super::{Binding, Refusal, Rules, register};
use crate::policy::WhenFull;

const SECOND: u64 = 1_000_000_000;

fn flow() -> Flow {
    let remote: SocketAddr = "192.0.2.7:5060".parse().unwrap();
    Flow::new(0, Transport::Udp, remote)
}

fn rules(max_contacts: usize, when_full: WhenFull) -> Rules {
    Rules { min_s: 60, default_s: 3600, max_s: 7200, max_contacts, when_full }
}

fn apply(
    now: u64,
    (call_id, cseq): (&str, u32),
    contacts: &[(u8, Option<u32>)],
    rules: Rules,
    serial: &mut u64,
    bindings: &mut Vec<Binding>,
) -> Result<(), Refusal> {
    let line = |(device, expires): &(u8, Option<u32>)| {
        let expires = expires.map(|expires| format!(";expires={expires}")).unwrap_or_default();
        format!("Contact: <sip:6000@192.0.2.7:{}>{expires}\r\n", 5060 + u16::from(*device))
    };
    let lines: String = contacts.iter().map(line).collect();
    let text = format!(
        "REGISTER sip:x SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK1\r\nTo: <sip:6000@x>\r\n\
         Call-ID: {call_id}\r\nCSeq: {cseq} REGISTER\r\n{lines}\r\n"
    );
    let mut index = Index::new();
    let request = index.parse(text.as_bytes()).unwrap();
    register(now, flow(), request, rules, serial, bindings)
}

proptest! {
    #[test]
    fn bindings_are_as_few_as_permitted_and_end_when_they_were_told(
        max in 1_usize..4,
        replace in any::<bool>(),
        steps in prop::collection::vec(
            (0_u64..5000, prop::collection::vec((0_u8..6, prop::option::of(0_u32..10_000)), 0..4)),
            1..40,
        ),
    ) {
        let rules = rules(max, if replace { WhenFull::Replace } else { WhenFull::Refuse });
        let (mut now, mut serial, mut bindings) = (0, 0, Vec::new());
        // What a user would expect of each device: until when it is bound.
        for (cseq, (wait_s, contacts)) in steps.into_iter().enumerate() {
            now += wait_s * SECOND;
            let before: Vec<Binding> = bindings.clone();
            let done = apply(now, ("c", cseq as u32 + 1), &contacts, rules, &mut serial, &mut bindings);
            if done.is_err() {
                prop_assert_eq!(&before, &bindings, "all of it or nothing");
                continue;
            }
            prop_assert!(bindings.len() <= max);
            let mut serials: Vec<u64> = bindings.iter().map(|binding| binding.serial).collect();
            serials.sort_unstable();
            serials.dedup();
            prop_assert_eq!(serials.len(), bindings.len(), "each has a name of its own");
            for binding in &bindings {
                prop_assert!(binding.expires_at > now);
                prop_assert!(binding.remaining_s(now) <= 7200);
            }
            for (device, expires) in &contacts {
                let uri = format!("sip:6000@192.0.2.7:{}", 5060 + u16::from(*device)).into_bytes();
                let last = contacts.iter().rev().find(|(other, _)| other == device).unwrap();
                let bound = bindings.iter().find(|binding| binding.contact == uri);
                if last == &(*device, *expires) {
                    let wanted = expires.unwrap_or(3600);
                    let until = (wanted > 0).then(|| now + u64::from(wanted.min(7200)) * SECOND);
                    prop_assert_eq!(bound.map(|binding| binding.expires_at), until);
                }
            }
            // Whoever was not named and is gone had ended, or made room.
            let room = bindings.len() == max && replace;
            for gone in before.iter().filter(|old| !bindings.iter().any(|kept| kept.serial == old.serial)) {
                let named = contacts.iter().any(|(device, _)| {
                    gone.contact.ends_with((5060 + u16::from(*device)).to_string().as_bytes())
                });
                prop_assert!(named || gone.expires_at <= now || room);
            }
        }
    }
}

#[test]
fn a_request_that_overtook_another_counts_and_the_other_does_not() {
    let (mut serial, mut bindings) = (0, Vec::new());
    let rules = rules(1, WhenFull::Replace);
    assert_eq!(apply(0, ("c", 5), &[(0, Some(600))], rules, &mut serial, &mut bindings), Ok(()));
    let late = apply(1, ("c", 4), &[(0, Some(0))], rules, &mut serial, &mut bindings);
    assert_eq!((late, bindings.len()), (Err(Refusal::OutOfOrder), 1));
    assert_eq!(apply(2, ("d", 1), &[(0, Some(0))], rules, &mut serial, &mut bindings), Ok(()));
    assert!(bindings.is_empty());
}
