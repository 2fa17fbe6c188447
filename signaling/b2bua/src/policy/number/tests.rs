use std::sync::Arc;

use proptest::prelude::*;

use super::*;

/// Beijing: local numbers of 8 digits, mobile ones of 11 that begin with 13 to 19 and are dialled as they are.
fn beijing() -> Plan {
    Plan {
        country: "86".into(),
        area: "10".into(),
        international_prefix: "00".into(),
        trunk_prefix: "0".into(),
        local_digits: 7..=8,
        national_digits: 9..=11,
        bare_prefixes: ["13", "14", "15", "16", "17", "18", "19"].map(String::from).into(),
    }
}

fn edit(prefix: &str, at: At, delete: usize, insert: &str) -> NumberRule {
    let change = Change::Edits(vec![Edit { at, delete, insert: insert.into() }]);
    NumberRule { prefix: prefix.into(), length: 0..=usize::MAX, change }
}

fn applied(rules: &[NumberRule], number: &str) -> String {
    String::from_utf8(NumberRules(rules.to_vec()).apply(number.as_bytes()).into_owned()).unwrap()
}

#[test]
fn digits_are_inserted_deleted_and_replaced_at_any_place() {
    for (at, delete, insert, expected) in [
        (At::Start(0), 0, "9", "9123456"),
        (At::Start(0), 2, "", "3456"),
        (At::Start(3), 2, "00", "123006"),
        (At::Start(6), 0, "7", "1234567"),
        (At::End(0), 0, "#", "123456#"),
        (At::End(2), 2, "", "1234"),
        (At::End(6), 6, "1", "1"),
    ] {
        assert_eq!(applied(&[edit("", at, delete, insert)], "123456"), expected, "{at:?} {delete} {insert}");
    }
}

#[test]
fn the_first_rule_that_fits_decides() {
    let rules = [
        edit("123", At::Start(9), 1, ""),
        NumberRule { length: 3..=3, ..edit("12", At::Start(0), 0, "short") },
        NumberRule { change: Change::Edits(Vec::new()), ..edit("125", At::Start(0), 0, "") },
        edit("12", At::Start(0), 2, "0"),
        edit("", At::Start(0), 0, "never"),
    ];
    assert_eq!(applied(&rules, "1234"), "034", "the first is for longer numbers");
    assert_eq!(applied(&rules, "123"), "short123");
    assert_eq!(applied(&rules, "12500"), "12500", "one without edits leaves it as it is");
    assert_eq!(applied(&rules[..4], "999"), "999");
}

#[test]
fn long_numbers_pass() {
    let called = "1234567890123456789012345678";
    assert_eq!(applied(&[edit("1", At::Start(27), 1, "0")], called), "1234567890123456789012345670");
    let plan = Change::Form(Form::E164, Arc::new(beijing()));
    assert_eq!(applied(&[NumberRule { change: plan, ..edit("", At::Start(0), 0, "") }], called), called);
}

#[test]
fn a_plan_knows_its_forms() {
    let plan = beijing();
    let write = |number: &str, form| plan.write(number.as_bytes(), form).map(|n| String::from_utf8(n).unwrap());
    for number in ["65551234", "01065551234", "+861065551234", "00861065551234", "861065551234", "1065551234"] {
        assert_eq!(write(number, Form::E164).as_deref(), Some("+861065551234"), "{number}");
        assert_eq!(write(number, Form::E164Digits).as_deref(), Some("861065551234"));
        assert_eq!(write(number, Form::International).as_deref(), Some("00861065551234"));
        assert_eq!(write(number, Form::National).as_deref(), Some("01065551234"));
        assert_eq!(write(number, Form::Local).as_deref(), Some("65551234"));
    }
    for number in ["13912345678", "+8613912345678", "8613912345678", "013912345678"] {
        assert_eq!(write(number, Form::E164).as_deref(), Some("+8613912345678"), "{number}");
        assert_eq!(write(number, Form::Local).as_deref(), Some("13912345678"));
    }
    assert_eq!(write("02161234567", Form::Local).as_deref(), Some("02161234567"), "another area");
    assert_eq!(write("+442071234567", Form::Local).as_deref(), Some("00442071234567"), "another country");
    for number in ["110", "10086", "95588", "", "+", "+1a", "alice", "*86#", "1234567890123456"] {
        assert_eq!(write(number, Form::E164), None, "{number}");
    }
}

#[test]
fn numbers_are_found_in_user_parts() {
    for (user, number) in [
        ("6000", "6000"),
        ("+86-10-6555.1234", "+861065551234"),
        ("(010)6555", "0106555"),
        ("6000;npdi;rn=1", "6000"),
        ("%2B86", "+86"),
        ("1%23", "1#"),
        ("alice.smith", "alice.smith"),
        ("a-1", "a-1"),
        ("-.-", "-.-"),
        ("", ""),
    ] {
        assert_eq!(*number_of(user.as_bytes()), *number.as_bytes(), "{user}");
    }
    assert_eq!(*with_number(b"(010)6555;npdi", b"0106555"), *b"(010)6555;npdi", "the same number");
    assert_eq!(*with_number(b"6000;npdi;rn=1", b"+6#"), *b"+6%23;npdi;rn=1");
}

proptest! {
    /// Splicing text by hand says the same.
    #[test]
    fn edits_are_as_a_naive_one(number in "[0-9+*#]{0,28}", at in 0usize..32, end: bool, delete in 0usize..8,
                                insert in "[0-9+]{0,8}", prefix in "[0-9]{0,2}") {
        let place = if end { At::End(at) } else { At::Start(at) };
        let rule = edit(&prefix, place, delete, &insert);
        let from = if end { number.len() as isize - at as isize } else { at as isize };
        let fits = number.starts_with(&prefix) && from >= 0 && from as usize + delete <= number.len();
        let expected = fits.then(|| {
            let kept = number.char_indices().filter(|(i, _)| !(from as usize..from as usize + delete).contains(i));
            let mut text: Vec<char> = kept.map(|(_, c)| c).collect();
            for (offset, c) in insert.chars().enumerate() {
                text.insert(from as usize + offset, c);
            }
            text.into_iter().collect::<String>().into_bytes()
        });
        prop_assert_eq!(rule.apply(number.as_bytes()), expected);
    }

    /// What a plan has written it reads back, in whichever form, and says the same again.
    #[test]
    fn every_form_says_the_same_number(number in "0?[1-9][0-9]{6,10}|\\+?86[0-9]{6,11}|\\+[1-9][0-9]{6,12}") {
        let plan = beijing();
        let Some(known) = plan.write(number.as_bytes(), Form::E164) else { return Ok(()) };
        for form in [Form::E164, Form::International, Form::National, Form::Local] {
            let written = plan.write(number.as_bytes(), form).unwrap();
            prop_assert_eq!(plan.write(&written, Form::E164), Some(known.clone()), "{:?} {:?}", form, written);
            prop_assert_eq!(plan.write(&written, form), Some(written.clone()));
        }
    }

    /// Whatever stands in a URI, what is made of it is one that says the number.
    #[test]
    fn a_number_is_found_where_it_was_put(user in "\\PC{0,20}", number in "[ -~]{1,28}") {
        prop_assume!(*number_of(number.as_bytes()) == *number.as_bytes() && !number.contains(['%', ';']));
        let put = with_number(user.as_bytes(), number.as_bytes());
        prop_assert_eq!(&*number_of(&put), number.as_bytes());
    }
}
