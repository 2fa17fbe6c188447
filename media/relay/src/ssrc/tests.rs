use super::*;

const OWNER: u32 = 1;
const GUEST: u32 = 2;
const OTHER: u32 = 3;
const MS: u64 = 1_000_000;

/// A guard in a state, with the next number of each source.
fn guard(state: State, now: u64) -> SsrcGuard {
    let mut guard = SsrcGuard::default();
    let begin = now - 100_000 * MS;
    let mut feed = |ssrc, n, at, heard| assert!(guard.admit(at, heard, ssrc, n));
    match state {
        State::Silent => {}
        State::Unproved => feed(OWNER, 0, begin, 0),
        State::Owned => (0..2).for_each(|n| feed(OWNER, n, begin, begin)),
        State::Guest => {
            (0..2).for_each(|n| feed(OWNER, n, begin, begin));
            assert!(!guard.admit(now - 30_000 * MS, begin, GUEST, 0));
            assert!(guard.admit(now - 30_000 * MS, begin, GUEST, 1));
        }
    }
    assert_eq!(guard.state, state);
    guard
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Event {
    OwnerNext,
    OwnerAny,
    GuestAny,
    Other,
    ProvedBusy,
    ProvedFree,
    ProvedAnnounced,
}

/// Feeds the event; whether the last packet of it was let in.
fn feed(guard: &mut SsrcGuard, event: Event, now: u64) -> bool {
    match event {
        Event::OwnerNext => guard.admit(now, now - MS, OWNER, 1),
        Event::OwnerAny => guard.admit(now, now - MS, OWNER, 77),
        Event::GuestAny => guard.admit(now, now - MS, GUEST, 500),
        Event::Other => guard.admit(now, now - 10_000 * MS, OTHER, 500),
        Event::ProvedBusy => {
            guard.admit(now, now - MS, OTHER, 500);
            guard.admit(now + 20 * MS, now + 19 * MS, OTHER, 501)
        }
        Event::ProvedFree => {
            guard.admit(now, now - PAUSE_NS, OTHER, 500);
            guard.admit(now + 20 * MS, now + 20 * MS - PAUSE_NS, OTHER, 501)
        }
        Event::ProvedAnnounced => {
            guard.announce(now);
            feed(guard, Event::ProvedBusy, now)
        }
    }
}

/// The table above the code, cell by cell.
#[test]
fn every_state_meets_every_event() {
    use Event::*;
    use State::*;
    let rows = [
        (Silent, OwnerNext, true, Unproved),
        (Silent, OwnerAny, true, Unproved),
        (Silent, GuestAny, true, Unproved),
        (Silent, Other, true, Unproved),
        (Silent, ProvedBusy, true, Owned),
        (Silent, ProvedFree, true, Owned),
        (Silent, ProvedAnnounced, true, Owned),
        (Unproved, OwnerNext, true, Owned),
        (Unproved, OwnerAny, true, Unproved),
        (Unproved, GuestAny, false, Unproved),
        (Unproved, Other, false, Unproved),
        (Unproved, ProvedBusy, true, Owned),
        (Unproved, ProvedFree, true, Owned),
        (Unproved, ProvedAnnounced, true, Owned),
        (Owned, OwnerNext, true, Owned),
        (Owned, OwnerAny, true, Owned),
        (Owned, GuestAny, false, Owned),
        (Owned, Other, false, Owned),
        (Owned, ProvedBusy, false, Owned),
        (Owned, ProvedFree, true, Guest),
        (Owned, ProvedAnnounced, true, Guest),
        (Guest, OwnerNext, true, Owned),
        (Guest, OwnerAny, true, Owned),
        (Guest, GuestAny, true, Guest),
        (Guest, Other, false, Guest),
        (Guest, ProvedBusy, false, Guest),
        (Guest, ProvedFree, true, Guest),
        (Guest, ProvedAnnounced, true, Guest),
    ];
    assert_eq!(rows.len(), 4 * 7);
    let now = 1_000_000 * MS;
    for (state, event, passes, then) in rows {
        let mut guard = guard(state, now);
        assert_eq!(feed(&mut guard, event, now), passes, "{state:?} x {event:?}");
        assert_eq!(guard.state, then, "{state:?} x {event:?}");
        let known = if passes && then == Guest && event != GuestAny { OTHER } else { guard.speaker };
        assert_eq!(guard.speaker, known, "{state:?} x {event:?}");
    }
}

#[test]
fn a_proof_takes_two_numbers_in_a_row_and_not_too_far_apart() {
    let now = 1_000_000 * MS;
    let heard = now - PAUSE_NS;
    for (second, later, passes) in [(11, 20, true), (12, 20, false), (10, 20, false), (9, 20, false), (11, 250, false)]
    {
        let mut guard = guard(State::Owned, now);
        assert!(!guard.admit(now, heard, OTHER, 10));
        assert_eq!(guard.admit(now + later * MS, heard, OTHER, second), passes, "{second} after {later} ms");
    }
    let mut wraps = guard(State::Owned, now);
    assert!(!wraps.admit(now, heard, OTHER, u16::MAX));
    assert!(wraps.admit(now, heard, OTHER, 0));
}

#[test]
fn a_place_among_the_newcomers_is_free_in_time() {
    let now = 1_000_000 * MS;
    let heard = now - PAUSE_NS;
    let mut guard = guard(State::Owned, now);
    for n in 0..100 {
        assert!(!guard.admit(now + n * MS, heard, 100 + n as u32, 9));
    }
    assert!(!guard.admit(now + 101 * MS, heard, OTHER, 0), "no place");
    assert!(!guard.admit(now + 121 * MS, heard, OTHER, 1));
    assert!(!guard.admit(now + 300 * MS, heard, OTHER, 2));
    assert!(guard.admit(now + 320 * MS, heard, OTHER, 3));
}

#[test]
fn a_break_frees_the_way_unless_it_is_contested() {
    let now = 1_000_000 * MS;
    let asks = |guard: &mut SsrcGuard, at: u64, heard: u64| {
        guard.admit(at - MS, heard, OTHER, 500);
        guard.admit(at, heard, OTHER, 501)
    };
    let mut changed = guard(State::Owned, now);
    assert!(!asks(&mut changed, now + BREAK_NS - MS, now));
    assert!(asks(&mut changed, now + BREAK_NS, now));
    // One packet of the former source came late.
    let mut trailed = guard(State::Owned, now);
    assert!(!trailed.admit(now, now - 20 * MS, OTHER, 9));
    assert!(asks(&mut trailed, now + MS + BREAK_NS, now + MS));
    // Somebody else sends beside the speaker.
    for announced in [false, true] {
        let mut contested = guard(State::Owned, now);
        for n in 0..5 {
            assert!(!contested.admit(now + n * 20 * MS, now + n * 20 * MS - MS, OTHER, n as u16));
        }
        if announced {
            contested.announce(now);
        }
        let (heard, silence) = (now + 80 * MS, if announced { BREAK_NS } else { PAUSE_NS });
        assert!(!contested.admit(heard + silence - 2 * MS, heard, OTHER, 5));
        assert!(!contested.admit(heard + silence - MS, heard, OTHER, 6), "announced: {announced}");
        assert!(contested.admit(heard + silence, heard, OTHER, 7), "announced: {announced}");
    }
    // That was long ago.
    let mut over = guard(State::Owned, now);
    for n in 0..5 {
        assert!(!over.admit(now + n * 20 * MS, now + n * 20 * MS - MS, GUEST, n as u16));
    }
    let heard = now + 2 * RUN_NS;
    assert!(asks(&mut over, heard + BREAK_NS, heard));
}
