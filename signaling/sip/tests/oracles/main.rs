//! Other parsers read the messages of the corpora too, as they are and damaged; header by header they and Moorline must
//! agree. None of them is right alone: `differences.tsv` lists where they differ, why, and who is right. A difference
//! that it does not list fails, and so does one that it lists and that is gone.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "the crate reads no files; its tests do")]

mod ezk;
mod reading;
mod rsipstack;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use moorline_sip::{Index, OwnedMessage};
use proptest::prelude::*;

use reading::{NOTHING, Reading, read};

type Oracle = fn(&[u8]) -> Option<Reading>;

const ORACLES: [(&str, Oracle); 2] = [("rsipstack", rsipstack::read), ("ezk", ezk::read)];

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// The messages of the corpora that Moorline accepts.
fn accepted() -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for folder in ["rfc4475", "rfc5118", "pjproject"] {
        for entry in fs::read_dir(tests().join("corpora").join(folder)).unwrap() {
            let entry = entry.unwrap();
            let bytes = fs::read(entry.path()).unwrap();
            if accept(&bytes).is_some() {
                found.push((entry.file_name().into_string().unwrap(), bytes));
            }
        }
    }
    found.sort();
    assert!(found.len() > 50, "{} messages", found.len());
    found
}

fn accept(bytes: &[u8]) -> Option<OwnedMessage> {
    let mut index = Index::new();
    let message = index.parse(bytes).ok()?;
    message.check().is_ok().then(|| message.to_owned())
}

/// One line of `differences.tsv`.
struct Known {
    oracle: String,
    file: String,
    what: String,
}

/// What is listed: differences about a message of the corpora, and those of [`KINDS`] whatever the message.
fn known() -> Vec<Known> {
    let text = fs::read_to_string(tests().join("differences.tsv")).unwrap();
    let lines = text.lines().skip(1).map(|line| {
        let [oracle, file, what, _right, _why] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        Known { oracle: oracle.into(), file: file.into(), what: what.into() }
    });
    lines.collect()
}

/// One difference.
struct Difference {
    what: String,
    ours: String,
    theirs: String,
    /// Whether the oracle found another number of header fields.
    lost_headers: bool,
    /// Whether lines end in LF alone.
    lone_lf: bool,
}

type Kind = (&'static str, fn(&Difference) -> bool);

/// Kinds of differences that damaged messages show. Each stands in `differences.tsv` with `*` for the message.
const KINDS: [Kind; 7] = [
    ("refused", |found| found.theirs == NOTHING),
    ("cut short", |found| found.ours.starts_with(&found.theirs) || found.what.ends_with(" params")),
    ("escape in a parameter", |found| found.ours.contains('%')),
    ("number with more behind", |found| {
        found.ours == NOTHING && found.theirs.bytes().all(|byte| byte.is_ascii_digit())
    }),
    ("header fields lost", |found| found.lost_headers),
    ("white space", |found| found.theirs.contains([' ', '\t']) && found.what.starts_with("via")),
    ("LF alone", |found| found.lone_lf && (found.what == "body" || found.lost_headers)),
];

/// The kinds of differences that are known of an oracle.
fn kinds(oracle: &str) -> Vec<Kind> {
    let known = known();
    let listed =
        |name: &str| known.iter().any(|known| known.oracle == oracle && known.file == "*" && known.what == name);
    KINDS.into_iter().filter(|(name, _)| listed(name)).collect()
}

/// Where an oracle reads a message otherwise than Moorline: what, and how each reads it.
fn differences(oracle: Oracle, bytes: &[u8]) -> Option<Vec<Difference>> {
    let message = accept(bytes)?;
    let ours = read(message.view());
    let theirs = oracle(bytes)?;
    let lone_lf = bytes.windows(2).any(|pair| pair[0] != b'\r' && pair[1] == b'\n');
    let lost_headers = theirs.get("headers") != ours.get("headers");
    let differ = |(what, theirs): (String, String)| {
        let ours = ours.get(&what).cloned().unwrap_or_else(|| NOTHING.to_owned());
        (ours != theirs).then_some(Difference { what, ours, theirs, lost_headers, lone_lf })
    };
    Some(theirs.into_iter().filter_map(differ).collect())
}

#[test]
fn the_corpora_are_read_as_others_read_them() {
    let mut found = BTreeSet::new();
    for (file, bytes) in accepted() {
        for (name, oracle) in ORACLES {
            match differences(oracle, &bytes) {
                None => found.insert((name.to_owned(), file.clone(), "message".to_owned())),
                Some(differences) => {
                    differences.into_iter().fold(false, |_, Difference { what, ours, theirs, .. }| {
                        println!("{name}\t{file}\t{what}\t{ours:?}\t{theirs:?}");
                        found.insert((name.to_owned(), file.clone(), what))
                    })
                }
            };
        }
    }
    let known = known().into_iter().filter(|known| known.file != "*");
    let known: BTreeSet<_> = known.map(|known| (known.oracle, known.file, known.what)).collect();
    let new: Vec<_> = found.difference(&known).collect();
    let gone: Vec<_> = known.difference(&found).collect();
    assert!(new.is_empty() && gone.is_empty(), "new: {new:#?}\ngone: {gone:#?}");
}

/// What is put into a message to damage it.
const ODD: &[u8] = b"\r\n \t:;,<>\"\\@=[]?0azSI/%\xe9\0-";

/// Changes to a message: where, what happens there, and with which byte.
fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, u8, u8)>> {
    prop::collection::vec((any::<prop::sample::Index>(), 0..4_u8, prop::sample::select(ODD)), 1..3)
}

fn damaged(bytes: &[u8], changes: &[(prop::sample::Index, u8, u8)]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (at, change, byte) in changes {
        let at = at.index(bytes.len());
        match change {
            0 => drop(bytes.remove(at)),
            1 => bytes.insert(at, *byte),
            _ => bytes[at] = *byte,
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// What is still accepted of a damaged message is read as others read it, but for the kinds of differences known.
    #[test]
    fn damaged_messages_are_read_as_others_read_them(file in any::<prop::sample::Index>(), changes in changes()) {
        static ACCEPTED: LazyLock<Vec<(String, Vec<u8>)>> = LazyLock::new(accepted);
        static KNOWN: LazyLock<[Vec<Kind>; 2]> = LazyLock::new(|| ORACLES.map(|(name, _)| kinds(name)));
        let (_, bytes) = &ACCEPTED[file.index(ACCEPTED.len())];
        let bytes = damaged(bytes, &changes);
        for ((oracle, read), kinds) in ORACLES.into_iter().zip(&*KNOWN) {
            for found in differences(read, &bytes).unwrap_or_default() {
                prop_assert!(
                    kinds.iter().any(|(_, is)| is(&found)),
                    "{oracle}: {}: {:?}, but {:?} in\n{}", found.what, found.ours, found.theirs, bytes.escape_ascii()
                );
            }
        }
    }
}

/// A kind that is listed is one of those that the test knows.
#[test]
fn every_kind_is_known() {
    for Known { what, .. } in known().iter().filter(|known| known.file == "*") {
        assert!(KINDS.iter().any(|(name, _)| name == what), "{what}");
    }
}
