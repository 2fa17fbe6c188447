//! Patterns that an operator writes, and what is put in the place of what they match: bounded, and never a line end.

use std::fmt;

use regex::bytes::{Captures, Regex, RegexBuilder};

/// The longest pattern, and the longest text that is put in its place.
const MAX_TEXT: usize = 512;

/// The most memory that one takes, compiled.
const MAX_COMPILED: usize = 1 << 18;

/// The longest text that is made.
const MAX_MADE: usize = 2048;

/// A regular expression over bytes. It takes time in proportion to the text, whatever it is.
#[derive(Clone)]
pub struct Pattern(Regex);

/// What is put in the place of a match: `$1` and `${name}` stand for what its groups have caught.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(String);

/// Why a pattern or template is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadPattern(String);

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// It is no regular expression, or too large a one.
    pub fn new(text: &str) -> Result<Pattern, BadPattern> {
        if text.len() > MAX_TEXT {
            return Err(BadPattern(format!("a pattern has at most {MAX_TEXT} bytes")));
        }
        let built =
            RegexBuilder::new(text).unicode(false).size_limit(MAX_COMPILED).dfa_size_limit(MAX_COMPILED).build();
        // The message of a syntax error shows the pattern over several lines; the last one says what is wrong.
        let problem = |error: regex::Error| {
            let text = error.to_string();
            BadPattern(text.lines().last().unwrap_or("no regular expression").trim().to_owned())
        };
        built.map(Pattern).map_err(problem)
    }

    /// Whether it matches anywhere in a text.
    pub fn is_in(&self, text: &[u8]) -> bool {
        self.0.is_match(text)
    }

    /// The text with its first match replaced; `None` where there is none, or what is made would be too long.
    pub fn replaced(&self, text: &[u8], with: &Template) -> Option<Vec<u8>> {
        let captures = self.0.captures(text)?;
        let found = captures.get(0)?;
        bounded(&[&text[..found.start()], &with.expanded(&captures), &text[found.end()..]].concat())
    }

    /// What a template makes of the first match alone; `None` as for [`Pattern::replaced`].
    pub fn expand(&self, text: &[u8], template: &Template) -> Option<Vec<u8>> {
        bounded(&template.expanded(&self.0.captures(text)?))
    }
}

impl Template {
    /// Reads a template for the groups of `pattern`, if there is one.
    ///
    /// # Errors
    /// It is too long, holds control characters, or names a group that the pattern does not have.
    pub fn new(text: &str, pattern: Option<&Pattern>) -> Result<Template, BadPattern> {
        if text.len() > MAX_TEXT || text.chars().any(char::is_control) {
            return Err(BadPattern(format!("it has control characters, or more than {MAX_TEXT} bytes")));
        }
        let Some(Pattern(regex)) = pattern else { return Ok(Template(text.replace('$', "$$"))) };
        for group in groups(text) {
            let number = group.parse::<usize>().ok();
            let known = match number {
                Some(number) => number < regex.captures_len(),
                None => regex.capture_names().flatten().any(|name| name == group),
            };
            if !known {
                return Err(BadPattern(format!("the pattern has no group {group:?} (write ${{1}} before letters)")));
            }
        }
        Ok(Template(text.to_owned()))
    }

    fn expanded(&self, captures: &Captures<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        captures.expand(self.0.as_bytes(), &mut out);
        out
    }
}

/// The groups that a template names.
fn groups(text: &str) -> Vec<&str> {
    let mut groups = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            groups.push(name);
            rest = after;
        } else {
            let length = rest.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
            groups.extend(Some(&rest[..length]).filter(|name| !name.is_empty()));
            rest = &rest[length..];
        }
    }
    groups
}

/// A made text without line ends: a group may have caught those of a folded header, or of a message made to smuggle a
/// header in.
fn bounded(text: &[u8]) -> Option<Vec<u8>> {
    let plain = |byte: &u8| if byte.is_ascii_control() && *byte != b'\t' { b' ' } else { *byte };
    (text.len() <= MAX_MADE).then(|| text.iter().map(plain).collect())
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({:?})", self.0.as_str())
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(pattern: &str, with: &str, text: &[u8]) -> Option<Vec<u8>> {
        let pattern = Pattern::new(pattern).unwrap();
        let with = Template::new(with, Some(&pattern)).unwrap();
        pattern.replaced(text, &with)
    }

    #[test]
    fn what_groups_catch_stands_in_the_replacement() {
        assert_eq!(replaced(r"^<sip:\+86(\d+)@", "<sip:0$1@", b"<sip:+8613800@h>;x"), Some(b"<sip:013800@h>;x".into()));
        assert_eq!(replaced("(?<a>b)(c)", "$2$a$$", b"abcd"), Some(b"acb$d".into()));
        assert_eq!(replaced("(?i)no money", "no credit", b"No Money left"), Some(b"no credit left".into()));
        assert_eq!(replaced("x", "y", b"abc"), None);
        assert_eq!(replaced("余额", "credit", "余额不足".as_bytes()), Some("credit不足".as_bytes().into()));
    }

    #[test]
    fn nothing_that_is_made_holds_a_line_end() {
        assert_eq!(replaced("(?s)a(.*)b", "$1", b"a\r\nEvil: 1\r\n\r\n\0b"), Some(b"  Evil: 1     ".into()));
        assert!(Template::new("a\r\nEvil: 1", None).is_err());
        assert!(Template::new("a\u{85}b", None).is_err());
    }

    #[test]
    fn patterns_and_what_they_make_are_bounded() {
        assert!(Pattern::new(&"a".repeat(MAX_TEXT + 1)).is_err());
        assert!(Pattern::new("(a{1000}){1000}").is_err());
        assert!(Pattern::new("(").is_err_and(|bad| bad.to_string().contains("unclosed")));
        assert_eq!(replaced("(x+)", "$1$1$1", &[b'x'; MAX_MADE]), None);
    }

    #[test]
    fn a_template_names_groups_that_are_there() {
        let pattern = Pattern::new("(a)(?<number>b)").unwrap();
        for good in ["$1", "${number}", "$$1x", "$0 $2", "a$", "${1}0"] {
            assert!(Template::new(good, Some(&pattern)).is_ok(), "{good}");
        }
        for bad in ["$3", "$1x", "${name}", "$number_"] {
            assert!(Template::new(bad, Some(&pattern)).is_err(), "{bad}");
        }
        let plain = Template::new("$1", None).unwrap();
        assert_eq!(pattern.expand(b"ab", &plain), Some(b"$1".to_vec()));
    }
}
