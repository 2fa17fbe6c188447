//! Numbering plans: how the same number is dialled from next door and from abroad (ITU-T E.164).

use std::ops::RangeInclusive;

/// How numbers are dialled in one area of one country.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The country's code, without +.
    pub country: String,
    /// The area's code, without the trunk prefix; empty where numbers are never dialled without it.
    pub area: String,
    /// What is dialled before a country's code.
    pub international_prefix: String,
    /// What is dialled before an area's code; empty where nothing is.
    pub trunk_prefix: String,
    /// How many digits a number has that is dialled without its area's code.
    pub local_digits: RangeInclusive<usize>,
    /// How many digits a number has without its country's code and the trunk prefix.
    pub national_digits: RangeInclusive<usize>,
    /// What national numbers begin with that are dialled without the trunk prefix: mobile ones, in many countries.
    pub bare_prefixes: Vec<String>,
}

/// A form in which a number is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `+`, the country's code, and the rest.
    E164,
    /// The same without `+`.
    E164Digits,
    /// As it is dialled in another country: the international prefix, the country's code, and the rest.
    International,
    /// As it is dialled in another area: with the trunk prefix; numbers of other countries as from abroad.
    National,
    /// As it is dialled in the plan's own area: without its code; numbers of other areas as from there.
    Local,
}

/// The most digits that a number has with its country's code (ITU-T E.164 6.1).
const MAX_DIGITS: usize = 15;

impl Plan {
    /// The number in another form; `None` for one that the plan cannot tell the country and area of. One that would be
    /// read as another number in the form that is asked for is written as from further away.
    pub fn write(&self, number: &[u8], form: Form) -> Option<Vec<u8>> {
        let digits = self.e164(number)?;
        Some(match form {
            Form::E164 => [b"+", &digits[..]].concat(),
            Form::E164Digits => digits,
            Form::International => self.international(&digits),
            Form::National => self.national(&digits),
            Form::Local => self.local(&digits).unwrap_or_else(|| self.national(&digits)),
        })
    }

    /// Country's code and the rest, of a number that is written in any of the forms.
    fn e164(&self, number: &[u8]) -> Option<Vec<u8>> {
        let digits = number.strip_prefix(b"+").unwrap_or(number);
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let country = self.country.as_bytes();
        let abroad = |digits: &[u8]| (2..=MAX_DIGITS).contains(&digits.len()).then(|| digits.to_vec());
        if digits.len() < number.len() {
            return abroad(digits);
        }
        let dialled = |prefix: &str| (!prefix.is_empty()).then(|| digits.strip_prefix(prefix.as_bytes())).flatten();
        if let Some(rest) = dialled(&self.international_prefix) {
            return abroad(rest);
        }
        let national = |digits: &[u8]| self.national_digits.contains(&digits.len());
        if let Some(rest) = dialled(&self.trunk_prefix).filter(|rest| national(rest)) {
            return abroad(&[country, rest].concat());
        }
        if !self.area.is_empty() && self.local_digits.contains(&digits.len()) {
            return abroad(&[country, self.area.as_bytes(), digits].concat());
        }
        if national(digits) {
            return abroad(&[country, digits].concat());
        }
        digits.strip_prefix(country).filter(|rest| national(rest)).and_then(|_| abroad(digits))
    }

    fn international(&self, digits: &[u8]) -> Vec<u8> {
        [self.international_prefix.as_bytes(), digits].concat()
    }

    fn national(&self, digits: &[u8]) -> Vec<u8> {
        let written = digits.strip_prefix(self.country.as_bytes()).map(|rest| {
            let bare = self.bare_prefixes.iter().any(|prefix| rest.starts_with(prefix.as_bytes()));
            if bare { rest.to_vec() } else { [self.trunk_prefix.as_bytes(), rest].concat() }
        });
        written.filter(|written| self.means(written, digits)).unwrap_or_else(|| self.international(digits))
    }

    fn local(&self, digits: &[u8]) -> Option<Vec<u8>> {
        let rest = digits.strip_prefix(self.country.as_bytes())?.strip_prefix(self.area.as_bytes())?;
        (!self.area.is_empty() && self.means(rest, digits)).then(|| rest.to_vec())
    }

    fn means(&self, written: &[u8], digits: &[u8]) -> bool {
        self.e164(written).is_some_and(|read| read == digits)
    }
}
