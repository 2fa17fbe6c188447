//! What is different between two configurations, key by key, as they are written. No secret is ever shown.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

/// A key that says something else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Its path; what is in a list of named things is in brackets: `signaling.trunks[carrier].codecs`.
    pub key: String,
    /// What it said; absent where it said nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What it says; absent where it says nothing any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// The most characters of a value that are shown.
const SHOWN: usize = 300;

/// In the place of a secret.
const HIDDEN: &str = "(hidden)";

/// All changes from one text to another, both TOML.
pub(crate) fn difference(before: &str, after: &str) -> Vec<Change> {
    let read = |text: &str| text.parse::<Table>().unwrap_or_default();
    let mut changes = Vec::new();
    tables("", &read(before), &read(after), &mut changes);
    changes
}

fn tables(path: &str, before: &Table, after: &Table, changes: &mut Vec<Change>) {
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for key in keys {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        values(&path, before.get(key), after.get(key), changes);
    }
}

fn values(path: &str, before: Option<&Value>, after: Option<&Value>, changes: &mut Vec<Change>) {
    let nothing = Vec::new();
    match (before, after) {
        (before, after) if before == after => {}
        (Some(Value::Table(before)), Some(Value::Table(after))) if !is_secret(path) => {
            tables(path, before, after, changes);
        }
        (before, after) if [before, after].into_iter().flatten().any(holds_tables) => {
            let list = |value: Option<&'_ Value>| value.and_then(Value::as_array).cloned();
            let (before, after) = (list(before).unwrap_or_else(|| nothing.clone()), list(after).unwrap_or(nothing));
            elements(path, &before, &after, changes);
        }
        (before, after) => {
            let shown = |value: &Value| shown(path, value);
            changes.push(Change { key: path.into(), before: before.map(shown), after: after.map(shown) });
        }
    }
}

fn holds_tables(value: &Value) -> bool {
    value.as_array().is_some_and(|elements| elements.iter().any(Value::is_table))
}

/// Elements of a list of tables, by their names where they have some.
fn elements(path: &str, before: &[Value], after: &[Value], changes: &mut Vec<Change>) {
    if let (Some(old), Some(new)) = (by_name(before), by_name(after)) {
        let names: BTreeSet<&str> = old.keys().chain(new.keys()).copied().collect();
        let found = changes.len();
        for name in names {
            let path = format!("{path}[{name}]");
            values(&path, old.get(name).copied(), new.get(name).copied(), changes);
        }
        if changes.len() > found {
            return;
        }
        return reordered(path, changes);
    }
    // What stands in both lists is no change; the rest was removed, or added.
    let mut left: BTreeMap<String, usize> = BTreeMap::new();
    for element in before {
        *left.entry(element.to_string()).or_default() += 1;
    }
    let added: Vec<&Value> = after.iter().filter(|element| !taken(&mut left, element)).collect();
    let removed: Vec<&Value> = before.iter().rev().filter(|element| taken(&mut left, element)).collect();
    if added.is_empty() && removed.is_empty() {
        return reordered(path, changes);
    }
    let removed = removed.into_iter().rev();
    changes.extend(removed.map(|value| Change { key: path.into(), before: Some(shown(path, value)), after: None }));
    let added = added.into_iter();
    changes.extend(added.map(|value| Change { key: path.into(), before: None, after: Some(shown(path, value)) }));
}

fn reordered(path: &str, changes: &mut Vec<Change>) {
    let (before, after) = (Some("one order".into()), Some("another order".into()));
    changes.push(Change { key: path.into(), before, after });
}

/// Takes one like it, if there is any left.
fn taken(left: &mut BTreeMap<String, usize>, element: &Value) -> bool {
    let count = left.get_mut(&element.to_string()).filter(|count| **count > 0);
    count.map(|count| *count -= 1).is_some()
}

/// `None` unless each has a name of its own.
fn by_name(elements: &[Value]) -> Option<BTreeMap<&str, &Value>> {
    let mut named = BTreeMap::new();
    for element in elements {
        let name = element.get("name")?.as_str()?;
        if named.insert(name, element).is_some() {
            return None;
        }
    }
    Some(named)
}

/// A value as it may be shown.
fn shown(path: &str, value: &Value) -> String {
    let mut text = without_secrets(path, value).to_string();
    if let Some((end, _)) = text.char_indices().nth(SHOWN) {
        text.truncate(end);
        text.push_str("...");
    }
    text
}

fn without_secrets(path: &str, value: &Value) -> Value {
    match value {
        // A prefix where a table of prefixes should be is one all the same.
        _ if is_secret(path) || (path.ends_with("secret_prefix") && !value.is_table()) => Value::String(HIDDEN.into()),
        Value::Table(table) => {
            let inside =
                |(key, value): (&String, &Value)| (key.clone(), without_secrets(&format!("{path}.{key}"), value));
            Value::Table(table.iter().map(inside).collect())
        }
        Value::Array(list) => Value::Array(list.iter().map(|value| without_secrets(path, value)).collect()),
        plain => plain.clone(),
    }
}

/// Whether what stands at a path is to be seen by nobody: passwords, hashes of them, tokens and secret prefixes, but not
/// the names of files that hold such.
fn is_secret(path: &str) -> bool {
    let key = path.rsplit('.').next().unwrap_or(path);
    let inside = path.contains(".secret_prefix.") && key != "without";
    let named = ["password", "secret", "ha1", "token"].iter().any(|word| key.contains(word)) && key != "secret_prefix";
    // A list of tables ends with a name: the table itself is not the secret.
    (inside || named) && !key.ends_with("_file") && !key.ends_with(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(before: &str, after: &str) -> Vec<String> {
        let line = |change: Change| {
            let side = |value: Option<String>| value.unwrap_or_else(|| "-".into());
            format!("{}: {} > {}", change.key, side(change.before), side(change.after))
        };
        difference(before, after).into_iter().map(line).collect()
    }

    #[test]
    fn named_things_are_compared_by_their_names() {
        let before = "[[signaling.trunks]]\nname = 'a'\ncodecs = ['pcma']\n[[signaling.trunks]]\nname = 'b'\n";
        let after =
            "[[signaling.trunks]]\nname = 'c'\n[[signaling.trunks]]\nname = 'a'\ncodecs = ['pcmu']\ntrusted = true\n";
        let expected = [
            "signaling.trunks[a].codecs: [\"pcma\"] > [\"pcmu\"]",
            "signaling.trunks[a].trusted: - > true",
            "signaling.trunks[b]: { name = \"b\" } > -",
            "signaling.trunks[c]: - > { name = \"c\" }",
        ];
        assert_eq!(told(before, after), expected);
        assert_eq!(told(before, before), [""; 0]);
    }

    #[test]
    fn of_other_lists_it_is_told_what_came_and_what_went() {
        let before = "routes = [{ prefix = '1', to = 'a' }, { prefix = '2', to = 'a' }]";
        let after = "routes = [{ prefix = '2', to = 'a' }, { prefix = '1', to = 'b' }]";
        assert_eq!(
            told(before, after),
            ["routes: { prefix = \"1\", to = \"a\" } > -", "routes: - > { prefix = \"1\", to = \"b\" }"]
        );
        let reversed = "routes = [{ prefix = '2', to = 'a' }, { prefix = '1', to = 'a' }]";
        assert_eq!(told(before, reversed), ["routes: one order > another order"]);
        assert_eq!(told(before, ""), told(before, "routes = []"));
        assert_eq!(told(before, "").len(), 2);
    }

    #[test]
    fn no_secret_is_shown() {
        let secrets = |text: &str| {
            format!(
                "[[signaling.trunks]]\nname = 'a'\nsecret_prefix = {{ sent = '{text}', without = 'silence' }}\n\
                 credentials = {{ user = 'u', password = '{text}' }}\nauthentication = {{ realm = 'r', users = [{{ name = '1', \
                 ha1_md5 = '{text}' }}] }}\n[signaling.radius]\nsecret = '{text}'\nsecret_file = '/etc/x'\n"
            )
        };
        let others = [secrets("hunter3").replace("name = 'a'", "name = 'b'"), secrets("hunter3"), String::new()];
        for (before, after) in
            others.iter().flat_map(|other| [(secrets("hunter2"), other.clone()), (other.clone(), secrets("hunter2"))])
        {
            let told = told(&before, &after).join("\n");
            assert!(!told.contains("hunter"), "{told}");
            assert!(told.contains("(hidden)"), "{told}");
        }
        let changed = told(&secrets("hunter2"), &secrets("hunter3")).join("\n");
        for key in ["secret_prefix.sent", "credentials.password", "users[1].ha1_md5", "radius.secret:"] {
            assert!(changed.contains(key), "{changed}");
        }
        assert_eq!(told("", "secret_prefix = 'hunter2'"), ["secret_prefix: - > \"(hidden)\""]);
        assert!(told("", "password_file = '/x'")[0].contains("/x"));
    }

    #[test]
    fn long_values_are_cut() {
        let shown = &told("", &format!("key = '{}'", "ü".repeat(1000)))[0];
        assert!(shown.ends_with("...") && shown.chars().count() < 320, "{shown}");
    }
}
