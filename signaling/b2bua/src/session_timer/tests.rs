use super::*;
use moorline_sip::{Index, Method, Writer};

const POLICY: Option<SessionTimers> = Some(SessionTimers { refresh_s: 1800, min_s: 90 });

/// What a request with these headers agrees on, as the header of the 2xx, or the Min-SE of the 422.
fn asked(headers: &[(&str, &str)]) -> Result<Vec<String>, u32> {
    let start = Writer::request(Method::Invite, b"sip:a@b");
    let bytes = headers.iter().fold(start, |writer, (name, value)| writer.header(name, value)).finish(b"");
    let mut index = Index::new();
    let agreed = Agreed::of_request(POLICY, index.parse(&bytes).unwrap())?;
    Ok(agreed.map(Agreed::headers).unwrap_or_default().into_iter().map(|(_, value)| value).collect())
}

#[test]
fn what_is_agreed_with_who_asks() {
    let timer = ("Supported", "timer");
    type Case<'a> = (&'a [(&'a str, &'a str)], Result<&'a [&'a str], u32>);
    let cases: [Case<'_>; 11] = [
        (&[], Ok(&[])),
        // Offered to who knows of it.
        (&[timer], Ok(&["1800;refresher=uas"])),
        (&[timer, ("Min-SE", "3600")], Ok(&["3600;refresher=uas"])),
        // Never longer than was asked for, nor shorter than the asker takes.
        (&[timer, ("Session-Expires", "600")], Ok(&["600;refresher=uac", "timer"])),
        (&[timer, ("Session-Expires", "7200")], Ok(&["1800;refresher=uac", "timer"])),
        (&[timer, ("Session-Expires", "7200"), ("Min-SE", "3600")], Ok(&["3600;refresher=uac", "timer"])),
        (&[timer, ("Session-Expires", "600;refresher=uas")], Ok(&["600;refresher=uas"])),
        (&[timer, ("Session-Expires", "89")], Err(90)),
        (&[("Require", "timer"), ("Session-Expires", "600;refresher=uac")], Ok(&["600;refresher=uac", "timer"])),
        // Put in by a proxy for a peer that knows nothing of it.
        (&[("Session-Expires", "600;refresher=uac")], Ok(&["600;refresher=uas"])),
        (&[("Session-Expires", "60")], Ok(&[])),
    ];
    for (headers, expected) in cases {
        let expected = expected.map(|values| values.iter().map(|value| (*value).to_owned()).collect());
        assert_eq!(asked(headers), expected, "{headers:?}");
    }
}

#[test]
fn a_timer_ends_before_the_interval_does() {
    let second = SECOND_NS;
    let ours = SessionTimer::new(0, 1800, true);
    assert_eq!((ours.due_at, ours.expires_at), (900 * second, 1768 * second));
    let theirs = SessionTimer::new(0, 90, false);
    assert_eq!((theirs.due_at, theirs.expires_at), (60 * second, 60 * second));
    // Nothing that a peer says overflows.
    assert!(SessionTimer::new(u64::MAX - 1, u32::MAX, true).due_at >= u64::MAX - 1);
}

#[test]
fn a_restored_timer_goes_on_where_it_was_but_leaves_time_for_a_refresh() {
    let second = SECOND_NS;
    let now = 10_000 * second;
    let half = SessionTimer::restored(now, 1800, true, now + 1000 * second);
    assert_eq!((half.due_at, half.expires_at), (now + 132 * second, now + 1000 * second));
    let late = SessionTimer::restored(now, 1800, true, now - 5 * second);
    assert_eq!((late.due_at, late.expires_at), (now, now + 32 * second));
    // The clock of a restarted host begins anew.
    let anew = SessionTimer::restored(second, 1800, false, now);
    assert_eq!(anew, SessionTimer::new(second, 1800, false));
}
