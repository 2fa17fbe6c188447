//! `moorline demo`, in small.

use std::process::Command;

#[test]
fn a_small_demo_is_clean_and_says_so() {
    let output = Command::new(env!("CARGO_BIN_EXE_moorline"))
        .args(["demo", "--calls", "5", "--seconds", "1"])
        .output()
        .expect("it runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{out}\n{err}");
    for part in
        ["5 placed, 5 answered, 5 completed", ": 0 lost,", "jitter", "residence, ", "one way", "0 media sessions"]
    {
        assert!(out.contains(part), "no {part:?} in\n{out}");
    }
    assert!(out.ends_with("all is well\n"), "{out}");
}
