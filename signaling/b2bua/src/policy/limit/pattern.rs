//! Patterns of numbers, and tables of them: one look for each form of pattern, however many patterns there are.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

/// The longest pattern: called numbers of 28 digits, and what marks them.
const MAX_LENGTH: usize = 32;

/// The most forms in one table: prefixes of every length, and as many ways to set an `x`.
const MAX_FORMS: usize = 64;

/// Which numbers are meant: `400`, and every number that begins so; `95xxx`, where each `x` is any digit, and numbers of
/// just so many digits; `95xxx*`, the same and whatever follows; `*`, every number.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern {
    /// Its digits, with `x` for any.
    key: Box<[u8]>,
    /// More may follow.
    open: bool,
}

/// Why a text is no pattern, or a table takes it no more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternFault {
    /// It has nothing in it.
    #[error("an empty pattern; write * for every number")]
    Empty,
    /// It is too long.
    #[error("{0} characters are too many for a pattern; {MAX_LENGTH} are the most")]
    Long(usize),
    /// Another character.
    #[error("{0:?} is in no number; a pattern is of digits, +, *, # and x")]
    Character(char),
    /// The table would have to be searched in too many ways.
    #[error("too many forms: patterns of more than {MAX_FORMS} lengths and ways to set x")]
    Forms,
}

impl Pattern {
    /// The one of every number.
    pub fn any() -> Pattern {
        Pattern { key: Box::default(), open: true }
    }

    /// True for the one of every number.
    pub fn is_any(&self) -> bool {
        self.open && self.key.is_empty()
    }

    /// Whether it means every number that begins so.
    pub fn covers(&self, prefix: &[u8]) -> bool {
        let same = |(own, other): (&u8, &u8)| own == other || (*own == b'x' && other.is_ascii_digit());
        self.open && self.key.len() <= prefix.len() && self.key.iter().zip(prefix).all(same)
    }

    fn form(&self) -> Form {
        let wild = self.key.iter().enumerate().filter(|(_, byte)| **byte == b'x');
        // As long as a pattern may be, at most.
        let length = self.key.len().min(MAX_LENGTH) as u8;
        Form { length, wild: wild.fold(0, |wild, (at, _)| wild | 1 << at), open: self.open }
    }
}

impl FromStr for Pattern {
    type Err = PatternFault;

    fn from_str(text: &str) -> Result<Pattern, PatternFault> {
        let star = text.strip_suffix('*');
        let key = star.unwrap_or(text).to_ascii_lowercase();
        if text.is_empty() {
            return Err(PatternFault::Empty);
        }
        if key.len() > MAX_LENGTH {
            return Err(PatternFault::Long(key.len()));
        }
        if let Some(other) = key.chars().find(|c| !(c.is_ascii_digit() || "+*#x".contains(*c))) {
            return Err(PatternFault::Character(other));
        }
        let open = star.is_some() || !key.contains('x');
        Ok(Pattern { key: key.into_bytes().into(), open })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Of ASCII by construction.
        let key = String::from_utf8_lossy(&self.key);
        let star = self.open && (key.is_empty() || key.contains('x') || key.ends_with('*'));
        write!(f, "{key}{}", if star { "*" } else { "" })
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What patterns look alike in: how long they are, where their `x`s are, and whether more may follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Form {
    length: u8,
    wild: u32,
    open: bool,
}

const _: () = assert!(MAX_LENGTH <= u32::BITS as usize);

impl Form {
    /// The key that a number has in this form, if it has the form.
    fn key<'a>(&self, number: &[u8], room: &'a mut [u8; MAX_LENGTH]) -> Option<&'a [u8]> {
        let length = usize::from(self.length);
        let fits = if self.open { number.len() >= length } else { number.len() == length };
        let room = room.get_mut(..length).filter(|_| fits)?;
        room.copy_from_slice(&number[..length]);
        let mut wild = self.wild;
        while wild != 0 {
            let at = wild.trailing_zeros() as usize;
            if !room[at].is_ascii_digit() {
                return None;
            }
            room[at] = b'x';
            wild &= wild - 1;
        }
        Some(room)
    }
}

/// Patterns of one form, by their plain characters.
type OfForm<V> = HashMap<Box<[u8]>, V>;

/// What is known by pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patterns<V> {
    forms: Vec<(Form, OfForm<V>)>,
}

impl<V> Default for Patterns<V> {
    fn default() -> Patterns<V> {
        Patterns { forms: Vec::new() }
    }
}

impl<V> Patterns<V> {
    /// Puts a value in, in place of the one before.
    ///
    /// # Errors
    /// The table has patterns of as many forms as it may.
    pub fn insert(&mut self, pattern: &Pattern, value: V) -> Result<Option<V>, PatternFault> {
        let form = pattern.form();
        let known = self.forms.iter().position(|(known, _)| *known == form);
        let at = match known {
            Some(at) => at,
            None if self.forms.len() >= MAX_FORMS => return Err(PatternFault::Forms),
            None => {
                self.forms.push((form, HashMap::new()));
                self.forms.len() - 1
            }
        };
        Ok(self.forms[at].1.insert(pattern.key.clone(), value))
    }

    /// The value of this very pattern.
    pub fn get(&self, pattern: &Pattern) -> Option<&V> {
        let form = pattern.form();
        self.forms.iter().find(|(known, _)| *known == form)?.1.get(&pattern.key)
    }

    /// The same, to change.
    pub fn get_mut(&mut self, pattern: &Pattern) -> Option<&mut V> {
        let form = pattern.form();
        self.forms.iter_mut().find(|(known, _)| *known == form)?.1.get_mut(&pattern.key)
    }

    /// Takes a value out.
    pub fn remove(&mut self, pattern: &Pattern) -> Option<V> {
        let form = pattern.form();
        let at = self.forms.iter().position(|(known, _)| *known == form)?;
        let value = self.forms[at].1.remove(&pattern.key);
        if self.forms[at].1.is_empty() {
            self.forms.swap_remove(at);
        }
        value
    }

    /// The values of all patterns that mean a number, with whether the pattern means every number.
    pub fn matching<'a>(&'a self, number: &'a [u8]) -> impl Iterator<Item = (bool, &'a V)> + 'a {
        let mut room = [0; MAX_LENGTH];
        self.forms.iter().filter_map(move |(form, values)| {
            let value = values.get(form.key(number, &mut room)?)?;
            Some((form.length == 0, value))
        })
    }

    /// True where some pattern means a number.
    pub fn matches(&self, number: &[u8]) -> bool {
        self.matching(number).next().is_some()
    }

    /// True where there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.forms.is_empty()
    }

    /// All that is in it, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (Pattern, &V)> {
        self.forms.iter().flat_map(|(form, values)| {
            values.iter().map(|(key, value)| (Pattern { key: key.clone(), open: form.open }, value))
        })
    }
}

impl Patterns<()> {
    /// A table of patterns alone.
    ///
    /// # Errors
    /// They are of too many forms.
    pub fn of(patterns: impl IntoIterator<Item = Pattern>) -> Result<Patterns<()>, PatternFault> {
        let mut table = Patterns::default();
        for pattern in patterns {
            table.insert(&pattern, ())?;
        }
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One pattern after the other, character by character.
    fn is_meant(pattern: &str, number: &[u8]) -> bool {
        let (text, open) = match pattern.strip_suffix('*') {
            Some(text) => (text, true),
            None => (pattern, !pattern.contains('x')),
        };
        let fits = if open { number.len() >= text.len() } else { number.len() == text.len() };
        fits && text.bytes().zip(number).all(|(want, is)| want == *is || (want == b'x' && is.is_ascii_digit()))
    }

    fn table(patterns: &[&str]) -> Patterns<usize> {
        let mut table = Patterns::default();
        for (at, pattern) in patterns.iter().enumerate() {
            table.insert(&pattern.parse().unwrap(), at).unwrap();
        }
        table
    }

    #[test]
    fn a_pattern_means_what_it_says() {
        let table = table(&["400", "95xxx", "0755x*", "*"]);
        let of = |number: &str| {
            let mut found: Vec<usize> = table.matching(number.as_bytes()).map(|(_, at)| *at).collect();
            found.sort();
            found
        };
        assert_eq!(of("4001234567"), [0, 3]);
        assert_eq!(of("95588"), [1, 3]);
        assert_eq!(of("955881"), [3], "just five digits");
        assert_eq!(of("9558a"), [3], "x is a digit");
        assert_eq!(of("07551"), [2, 3]);
        assert_eq!(of("0755123"), [2, 3]);
        assert_eq!(of("0755"), [3]);
        assert_eq!(of(""), [3]);
    }

    #[test]
    fn a_pattern_is_written_as_it_was_read() {
        for text in ["400", "95xxx", "95xxx*", "*", "+86755", "*67", "#31#", "4**"] {
            assert_eq!(text.parse::<Pattern>().unwrap().to_string(), text);
        }
        assert_eq!("400*".parse::<Pattern>(), "400".parse());
        assert_eq!("95XXX".parse::<Pattern>(), "95xxx".parse());
        assert_ne!("95xxx".parse::<Pattern>(), "95xxx*".parse());
        assert!("*".parse::<Pattern>().unwrap().is_any());
        assert_eq!("".parse::<Pattern>(), Err(PatternFault::Empty));
        assert_eq!("40a".parse::<Pattern>(), Err(PatternFault::Character('a')));
        assert_eq!("1".repeat(33).parse::<Pattern>(), Err(PatternFault::Long(33)));
        "1".repeat(32).parse::<Pattern>().unwrap();
    }

    #[test]
    fn forms_are_bounded_and_given_back() {
        let mut table = Patterns::default();
        let pattern = |at: usize| format!("{:x<31}", "x".repeat(at) + "1").parse::<Pattern>().unwrap();
        let open = |at: usize| "1".repeat(at + 1).parse::<Pattern>().unwrap();
        let all = (0..31).map(pattern).chain((0..32).map(open)).chain([Pattern::any()]);
        for one in all {
            table.insert(&one, ()).unwrap();
        }
        let more: Pattern = "x1".parse().unwrap();
        assert_eq!(table.insert(&more, ()), Err(PatternFault::Forms));
        assert_eq!(table.remove(&pattern(3)), Some(()));
        assert_eq!(table.remove(&pattern(3)), None);
        table.insert(&more, ()).unwrap();
        assert_eq!(table.iter().count(), MAX_FORMS);
    }

    fn digits(alphabet: &'static str, length: std::ops::Range<usize>) -> impl Strategy<Value = String> {
        let letters: Vec<char> = alphabet.chars().collect();
        proptest::collection::vec(proptest::sample::select(letters), length).prop_map(String::from_iter)
    }

    proptest! {
        #[test]
        fn a_table_finds_what_looking_at_each_finds(
            mut patterns in proptest::collection::vec((digits("012x+", 0..5), any::<bool>()), 0..20),
            numbers in proptest::collection::vec(digits("012+a", 0..7), 1..30),
            removed in 0usize..20,
        ) {
            let written = |(text, star): &(String, bool)| if *star || text.is_empty() { format!("{text}*") } else { text.clone() };
            let mut table = Patterns::default();
            for pattern in &patterns {
                table.insert(&written(pattern).parse().unwrap(), written(pattern).parse::<Pattern>().unwrap()).unwrap();
            }
            if removed < patterns.len() {
                let gone: Pattern = written(&patterns[removed]).parse().unwrap();
                table.remove(&gone);
                patterns.retain(|pattern| written(pattern).parse() != Ok(gone.clone()));
            }
            for number in numbers {
                let mut found: Vec<Pattern> = table.matching(number.as_bytes()).map(|(_, p)| p.clone()).collect();
                let mut naive: Vec<Pattern> = patterns
                    .iter()
                    .map(written)
                    .filter(|pattern| is_meant(pattern, number.as_bytes()))
                    .map(|pattern| pattern.parse().unwrap())
                    .collect();
                naive.sort();
                naive.dedup();
                found.sort();
                prop_assert_eq!(found, naive, "{}", number);
            }
        }
    }
}
