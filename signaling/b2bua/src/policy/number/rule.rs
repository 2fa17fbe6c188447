//! Rules for numbers: which they are for, and what they change.

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::{Form, Plan};

/// Rules in their order: the first that fits a number says what becomes of it, and a number that none fits stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NumberRules(pub Vec<NumberRule>);

/// A rule for some numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberRule {
    /// What they begin with; empty for any.
    pub prefix: Vec<u8>,
    /// How long they are, in characters.
    pub length: RangeInclusive<usize>,
    /// What becomes of them.
    pub change: Change,
}

/// What a rule makes of a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Edits, one after the other. The rule does not fit where one of them is for a place that the number has not; without
    /// edits the number stays as it is, whatever the rules behind say.
    Edits(Vec<Edit>),
    /// It is written in another form of its numbering plan. The rule does not fit where it is no number of that plan.
    Form(Form, Arc<Plan>),
}

/// Digits are taken out of a number, and others put in their place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// Where.
    pub at: At,
    /// How many are taken out there.
    pub delete: usize,
    /// What is put in.
    pub insert: Vec<u8>,
}

/// A place in a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// Behind so many characters.
    Start(usize),
    /// Before so many characters at the end.
    End(usize),
}

impl NumberRules {
    /// What becomes of a number.
    pub fn apply<'a>(&self, number: &'a [u8]) -> Cow<'a, [u8]> {
        let changed = self.0.iter().find_map(|rule| rule.apply(number));
        changed.map_or(Cow::Borrowed(number), Cow::Owned)
    }
}

impl NumberRule {
    /// What becomes of a number, if the rule fits it.
    pub fn apply(&self, number: &[u8]) -> Option<Vec<u8>> {
        if !number.starts_with(&self.prefix) || !self.length.contains(&number.len()) {
            return None;
        }
        match &self.change {
            Change::Edits(edits) => edits.iter().try_fold(number.to_vec(), |number, edit| edit.apply(number)),
            Change::Form(form, plan) => plan.write(number, *form),
        }
    }
}

impl Edit {
    fn apply(&self, mut number: Vec<u8>) -> Option<Vec<u8>> {
        let from = match self.at {
            At::Start(at) => at,
            At::End(at) => number.len().checked_sub(at)?,
        };
        let to = from.checked_add(self.delete).filter(|to| *to <= number.len())?;
        number.splice(from..to, self.insert.iter().copied());
        Some(number)
    }
}
