//! From text to the sections, with every wrong key and value of the file, not just the first.

use serde::Deserialize;
use toml::de::{DeTable, Deserializer};

use super::locate::{Document, find, remove};
use super::tables::{NESTED, NO_TABLE, Strict};
use super::{Fault, File};
use crate::preset::{self, Misuse};

/// More faults than anybody reads at once.
const MAX_FAULTS: usize = 50;

/// The sections and the document they came from, or the faults of syntax, keys and types.
pub(super) fn read(text: &str) -> Result<(File, Document<'_>), Vec<Fault>> {
    let (mut root, errors) = DeTable::parse_recoverable(text);
    let (presets, misuses) = match errors.is_empty() {
        true => preset::apply(root.get_mut(), text.len()),
        false => Default::default(),
    };
    let document = Document { text, root: root.get_ref().clone(), presets };
    let mut faults: Vec<Fault> = errors
        .iter()
        .take(MAX_FAULTS)
        .map(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let problem = format!("not TOML: {}", error.message());
            document.fault_at(at, String::new(), problem, "write `key = value` lines and [section] headers".into())
        })
        .collect();
    if !faults.is_empty() {
        return Err(faults);
    }

    let misused = |misuse: Misuse| document.fault_at(misuse.at, misuse.key, misuse.problem, misuse.remedy);
    faults.extend(misuses.into_iter().map(misused));

    // serde stops at the first fault: take what is at fault out, and read the rest again.
    let mut rest = root;
    loop {
        match File::deserialize(Strict::new(Deserializer::from(rest.clone()))) {
            Ok(file) if faults.is_empty() => return Ok((file, document)),
            Ok(_) => break,
            Err(error) => {
                let message = error.message();
                let span = error.span().unwrap_or_default();
                let missing = message.starts_with("missing field");
                // A key that is missed because it was at fault, and so taken out, is no second fault.
                if missing && !faults.is_empty() {
                    break;
                }
                let key = find(&document.root, &span).map(|found| found.path).unwrap_or_default();
                faults.push(document.fault_at(span.start, key, problem(message), remedy(message)));
                if missing || faults.len() == MAX_FAULTS || !remove(rest.get_mut(), span.start) {
                    break;
                }
            }
        }
    }
    faults.sort_by_key(|fault| (fault.line, fault.column));
    Err(faults)
}

fn problem(message: &str) -> String {
    // The list of what was expected belongs into the remedy.
    message.split(", expected one of").next().unwrap_or(message).to_owned()
}

/// What to do about serde's message.
fn remedy(message: &str) -> String {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    if let ["unknown", "field" | "variant", ..] = message.split(' ').collect::<Vec<_>>()[..]
        && let [wrong, known @ ..] = &quoted[..]
    {
        let close = known.iter().map(|name| (distance(wrong, name), name)).min();
        return match close {
            Some((distance, name)) if distance <= 2 => format!("did you mean `{name}`?"),
            Some(_) => format!("use one of: {}", known.join(", ")),
            None => "remove it".into(),
        };
    }
    if message.starts_with("missing field") {
        return format!("add `{} = ...` here", quoted.first().unwrap_or(&"it"));
    }
    if [NO_TABLE, NESTED].contains(&message) || message.ends_with("expected a table") {
        return "write a table: `key = value` lines below a [header], or { key = value }".into();
    }
    let expects = |what: &str| message.rsplit("expected ").next().is_some_and(|rest| rest.starts_with(what));
    if message.contains("socket address") {
        "write address and port, such as \"127.0.0.1:5060\" or \"[::1]:5060\"".into()
    } else if message.contains("IP address") || message.contains("IP prefix") || message.contains("network") {
        "write an address and a prefix length, such as \"192.0.2.0/24\"".into()
    } else if message.contains("expected") && ["u16", "u32", "u64", "usize", "an integer"].iter().any(|n| expects(n)) {
        "write a whole number without quotes, within the bounds".into()
    } else if expects("a string") || expects("path string") {
        "put it in quotes".into()
    } else if expects("a sequence") {
        "write a list: [\"...\", \"...\"]".into()
    } else if expects("a boolean") {
        "write true or false".into()
    } else {
        "write it as in the example configurations (deploy/examples)".into()
    }
}

/// How many characters must be put in, left out or replaced to get from one word to the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance("calls", "calls"), 0);
        assert_eq!(distance("cals", "calls"), 1);
        assert_eq!(distance("lisener", "listener"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
