use proptest::prelude::*;

use super::*;

fn row(from: &str, caller: &str, called: &str) -> Row {
    let caller = match caller {
        "anonymous" => Callers::Anonymous,
        number => Callers::Number(number.parse().unwrap()),
    };
    Row { from: (!from.is_empty()).then(|| from.into()), caller, called: called.parse().unwrap() }
}

/// A caller with a number, or without one.
fn party(caller: Option<&str>, called: &str) -> Party {
    let number = |text: &str| text.as_bytes().into();
    Party { caller: caller.map(number), anonymous: caller.is_none(), called: number(called), ..Party::default() }
}

fn black(percent: u8) -> Verdict {
    Verdict::Black { percent }
}

fn lists(rows: &[(&str, &str, &str, Verdict)]) -> Lists {
    let mut lists = Lists::default();
    for (from, caller, called, verdict) in rows {
        lists.insert(&row(from, caller, called), *verdict).unwrap();
    }
    lists
}

#[test]
fn rows_mean_callers_and_callees_by_prefix() {
    let lists = lists(&[
        ("", "0755", "*", black(100)),
        ("", "*", "0101", black(30)),
        ("", "0755", "0102", black(40)),
        ("", "07551", "01022", Verdict::White),
        ("", "anonymous", "*", black(50)),
        ("pbx", "2", "*", black(10)),
    ]);
    let judge = |from: &str, caller: &str, called: &str| lists.judge(from, &party(Some(caller), called));
    let refused = |percent, for_callee| Some(Listed::Black { percent, for_callee });
    assert_eq!(judge("a", "07559", "9"), refused(100, false));
    assert_eq!(judge("a", "07559", "0102"), refused(100, false), "the one that refuses the most");
    assert_eq!(judge("a", "3", "01015"), refused(30, true));
    assert_eq!(judge("a", "07551", "010223"), Some(Listed::White));
    assert_eq!(judge("a", "07551", "01021"), refused(100, false));
    assert_eq!(judge("a", "2", "1"), None);
    assert_eq!(judge("pbx", "2", "1"), refused(10, false));
    assert_eq!(lists.judge("a", &party(None, "1")), refused(50, false));
    assert_eq!(lists.judge("a", &party(None, "0101")), refused(50, false), "everybody is meant by *, but less");
    let withheld = |caller| Party { anonymous: true, ..party(Some(caller), "9") };
    assert_eq!(lists.judge("a", &withheld("0755")), refused(100, false), "it is the same number");
    assert_eq!(lists.judge("a", &withheld("3")), refused(50, false), "and nobody to the others");
}

#[test]
fn a_row_replaces_its_like_and_goes_when_it_is_removed() {
    let mut lists = lists(&[("", "1", "2", black(10)), ("pbx", "1", "2", black(20)), ("", "anonymous", "2", black(5))]);
    assert_eq!(lists.insert(&row("", "1", "2"), Verdict::White), Ok(Some(black(10))));
    assert_eq!(lists.len(), 3);
    assert_eq!(lists.remove(&row("", "1", "3")), None);
    assert_eq!(lists.remove(&row("else", "1", "2")), None);
    assert_eq!(lists.remove(&row("", "1", "2")), Some(Verdict::White));
    assert_eq!(lists.remove(&row("", "1", "2")), None);
    assert_eq!(lists.remove(&row("pbx", "1", "2")), Some(black(20)));
    assert_eq!(lists.rows(), [(row("", "anonymous", "2"), black(5))]);
    assert_eq!(lists.remove(&row("", "anonymous", "2")), Some(black(5)));
    assert!(lists.is_empty() && lists.of_any.is_empty() && lists.of_trunk.is_empty());
}

#[test]
fn a_row_that_is_of_too_many_forms_changes_nothing() {
    let mut lists = Lists::default();
    let mut refused = None;
    // Every way to have x or 1 in seven places.
    for mask in 0u32..128 {
        let caller: String = (0..7).map(|at| if mask & (1 << at) == 0 { '1' } else { 'x' }).collect();
        let (before, one) = (lists.len(), row("", &caller, "5"));
        if let Err(fault) = lists.insert(&one, black(1)) {
            assert_eq!((lists.len(), lists.get(&one)), (before, None));
            refused = Some(fault);
        }
    }
    assert_eq!(refused, Some(RowFault::Pattern(PatternFault::Forms)));
    assert_eq!(lists.rows().len(), lists.len());
}

fn number() -> impl Strategy<Value = String> {
    "[012]{0,4}"
}

fn pattern() -> impl Strategy<Value = String> {
    prop_oneof![Just("*".to_owned()), "[012]{1,3}", "[012x]{1,3}"]
}

fn caller() -> impl Strategy<Value = String> {
    prop_oneof![1 => Just("anonymous".to_owned()), 6 => pattern()]
}

proptest! {
    #[test]
    fn what_is_judged_is_what_looking_at_every_row_says(
        rows in proptest::collection::vec(("(pbx)?", caller(), pattern(), 0u8..101), 0..25),
        removed in any::<prop::sample::Index>(),
        calls in proptest::collection::vec(("pbx|other", proptest::option::of(number()), number()), 1..25),
    ) {
        let mut known: Vec<(Row, Verdict)> = Vec::new();
        let mut lists = Lists::default();
        for (from, caller, called, percent) in &rows {
            let row = row(from, caller, called);
            let verdict = if *percent == 0 { Verdict::White } else { black(*percent) };
            lists.insert(&row, verdict).unwrap();
            known.retain(|(other, _)| *other != row);
            known.push((row, verdict));
        }
        if !known.is_empty() {
            let (row, verdict) = known.swap_remove(removed.index(known.len()));
            prop_assert_eq!(lists.remove(&row), Some(verdict));
        }
        known.sort_by(|(one, _), (other, _)| one.cmp(other));
        prop_assert_eq!(lists.rows(), known.clone());

        let matches = |pattern: &Pattern, number: &str| {
            Patterns::of([pattern.clone()]).unwrap().matches(number.as_bytes())
        };
        for (from, caller, called) in calls {
            let meant = known.iter().filter(|(row, _)| {
                row.from.as_deref().is_none_or(|trunk| trunk == from)
                    && matches(&row.called, &called)
                    && match (&row.caller, &caller) {
                        (Callers::Anonymous, caller) => caller.is_none(),
                        (Callers::Number(pattern), Some(caller)) => matches(pattern, caller),
                        (Callers::Number(pattern), None) => pattern.is_any(),
                    }
            });
            let meant: Vec<&(Row, Verdict)> = meant.collect();
            let blacks = meant.iter().filter_map(|(row, verdict)| match verdict {
                Verdict::Black { percent } => Some((*percent, !row.called.is_any())),
                Verdict::White => None,
            });
            let naive = match blacks.max() {
                _ if meant.iter().any(|(_, verdict)| *verdict == Verdict::White) => Some(Listed::White),
                Some((percent, for_callee)) => Some(Listed::Black { percent, for_callee }),
                None => None,
            };
            let judged = lists.judge(&from, &party(caller.as_deref(), &called));
            prop_assert_eq!(judged, naive, "{} {:?} {}", from, caller, called);
        }
    }
}
