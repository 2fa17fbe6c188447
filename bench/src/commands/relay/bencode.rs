//! Bencoding, in which rtpengine's control protocol is written: strings, whole numbers, lists and dictionaries.

/// A value that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Bytes(Vec<u8>),
    Integer(i64),
    List(Vec<Value>),
    /// In the order in which it was written.
    Dictionary(Vec<(Vec<u8>, Value)>),
}

/// Deeper nesting is not read.
const MAX_DEPTH: u32 = 16;

/// A dictionary of strings and lists of strings, its keys in the order that they are given in.
pub(super) fn dictionary(entries: &[(&str, Entry<'_>)]) -> Vec<u8> {
    let mut out = vec![b'd'];
    for (key, entry) in entries {
        string(key, &mut out);
        match entry {
            Entry::Text(text) => string(text, &mut out),
            Entry::List(items) => {
                out.push(b'l');
                items.iter().for_each(|item| string(item, &mut out));
                out.push(b'e');
            }
        }
    }
    out.push(b'e');
    out
}

/// What a dictionary that is written holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Entry<'a> {
    Text(&'a str),
    List(&'a [&'a str]),
}

fn string(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(text.len().to_string().as_bytes());
    out.push(b':');
    out.extend_from_slice(text.as_bytes());
}

impl Value {
    /// Reads one value that fills `bytes`.
    pub(super) fn read(bytes: &[u8]) -> Option<Value> {
        let (value, rest) = value(bytes, MAX_DEPTH)?;
        rest.is_empty().then_some(value)
    }

    /// The text under a key of a dictionary.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        let Value::Dictionary(entries) = self else { return None };
        match &entries.iter().find(|(name, _)| name == key.as_bytes())?.1 {
            Value::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }
}

fn value(bytes: &[u8], depth: u32) -> Option<(Value, &[u8])> {
    let depth = depth.checked_sub(1)?;
    let (first, mut rest) = bytes.split_first()?;
    match first {
        b'i' => {
            let end = rest.iter().position(|byte| *byte == b'e')?;
            let number = std::str::from_utf8(rest.get(..end)?).ok()?.parse().ok()?;
            Some((Value::Integer(number), rest.get(end + 1..)?))
        }
        b'l' => {
            let mut items = Vec::new();
            while *rest.first()? != b'e' {
                let (item, after) = value(rest, depth)?;
                items.push(item);
                rest = after;
            }
            Some((Value::List(items), rest.get(1..)?))
        }
        b'd' => {
            let mut entries = Vec::new();
            while *rest.first()? != b'e' {
                let (key, after) = bytes_of(rest)?;
                let (item, after) = value(after, depth)?;
                entries.push((key.to_vec(), item));
                rest = after;
            }
            Some((Value::Dictionary(entries), rest.get(1..)?))
        }
        _ => bytes_of(bytes).map(|(text, rest)| (Value::Bytes(text.to_vec()), rest)),
    }
}

/// `4:spam` and what follows.
fn bytes_of(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = bytes.iter().position(|byte| *byte == b':')?;
    let digits = bytes.get(..colon).filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    let length: usize = std::str::from_utf8(digits).ok()?.parse().ok()?;
    bytes.get(colon + 1..)?.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_the_same() {
        let written = dictionary(&[("command", Entry::Text("offer")), ("flags", Entry::List(&["a", "bc"]))]);
        assert_eq!(written, b"d7:command5:offer5:flagsl1:a2:bcee");
        let read = Value::read(&written).unwrap();
        assert_eq!((read.text("command"), read.text("flags"), read.text("x")), (Some("offer"), None, None));
        let Value::Dictionary(entries) = read else { panic!("{read:?}") };
        assert_eq!(entries[1].1, Value::List(vec![Value::Bytes(b"a".into()), Value::Bytes(b"bc".into())]));
    }

    #[test]
    fn numbers_and_nesting() {
        let read = Value::read(b"d1:ali-3eli7eee1:b0:e").unwrap();
        assert_eq!(read.text("b"), Some(""));
        let Value::Dictionary(entries) = read else { panic!("{read:?}") };
        assert_eq!(entries[0].1, Value::List(vec![Value::Integer(-3), Value::List(vec![Value::Integer(7)])]));
    }

    #[test]
    fn what_is_broken_is_nothing() {
        for text in ["", "d", "d1:a", "5:spam", "-1:a", "i12", "ie", "l", "4:spamx", "99999999999999999999:a", "x"] {
            assert_eq!(Value::read(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Value::read("l".repeat(50_000).as_bytes()), None);
    }
}
