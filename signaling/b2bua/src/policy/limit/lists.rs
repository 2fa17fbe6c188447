//! The black and white list: rows of who may not call whom, and of who may all the same.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::Party;
use super::pattern::{Pattern, PatternFault, Patterns};

/// How [`Callers::Anonymous`] is written.
const ANONYMOUS: &str = "anonymous";

/// The most rows.
const MAX_ROWS: usize = 200_000;

/// A row. There is one for each trunk, caller and callee that are written alike.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Row {
    /// The trunk that the call comes from, by name; `None` for any.
    pub from: Option<Arc<str>>,
    /// Who calls.
    pub caller: Callers,
    /// Who is called.
    pub called: Pattern,
}

/// Callers that a row means.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Callers {
    /// Those without a number, or who withhold it.
    Anonymous,
    /// Those with such a number; where it is `*`, everybody.
    Number(Pattern),
}

impl fmt::Display for Callers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Callers::Anonymous => f.write_str(ANONYMOUS),
            Callers::Number(pattern) => pattern.fmt(f),
        }
    }
}

impl FromStr for Callers {
    type Err = PatternFault;

    fn from_str(text: &str) -> Result<Callers, PatternFault> {
        if text == ANONYMOUS { Ok(Callers::Anonymous) } else { text.parse().map(Callers::Number) }
    }
}

/// What a row says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// So many of a hundred such calls are refused, each drawn by chance.
    Black {
        /// 1 to 100.
        percent: u8,
    },
    /// Such calls are not refused by a row, nor because their number is barred.
    White,
}

/// What the rows say of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listed {
    /// A white row means it.
    White,
    /// Of the black rows that mean it, the one that refuses the most.
    Black {
        percent: u8,
        /// It means certain callees, not all.
        for_callee: bool,
    },
}

/// All rows.
#[derive(Debug, Clone, Default)]
pub struct Lists {
    rows: usize,
    of_any: Patterns<ByCaller>,
    of_trunk: HashMap<Arc<str>, Patterns<ByCaller>>,
}

/// What is said of calls to some callees.
#[derive(Debug, Clone, Default)]
struct ByCaller {
    anonymous: Option<Verdict>,
    numbers: Patterns<Verdict>,
}

/// Why a row is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowFault {
    /// There are as many as there may be.
    #[error("{MAX_ROWS} rows are the most")]
    Full,
    /// Its patterns.
    #[error(transparent)]
    Pattern(#[from] PatternFault),
}

impl Lists {
    /// Puts a row in, in place of what it said before.
    ///
    /// # Errors
    /// There is no room for it.
    pub fn insert(&mut self, row: &Row, verdict: Verdict) -> Result<Option<Verdict>, RowFault> {
        let known = self.get(row);
        if known.is_none() && self.rows >= MAX_ROWS {
            return Err(RowFault::Full);
        }
        let table = match &row.from {
            None => &mut self.of_any,
            Some(from) => self.of_trunk.entry(from.clone()).or_default(),
        };
        if table.get_mut(&row.called).is_none() {
            table.insert(&row.called, ByCaller::default())?;
        }
        let Some(callers) = table.get_mut(&row.called) else { return Ok(known) };
        match &row.caller {
            Callers::Anonymous => callers.anonymous = Some(verdict),
            Callers::Number(pattern) => {
                // Only a table that has other patterns refuses one, so nothing empty is left behind.
                callers.numbers.insert(pattern, verdict)?;
            }
        }
        self.rows += usize::from(known.is_none());
        Ok(known)
    }

    /// Takes a row out; `None` where there is none.
    pub fn remove(&mut self, row: &Row) -> Option<Verdict> {
        let table = match &row.from {
            None => &mut self.of_any,
            Some(from) => self.of_trunk.get_mut(from)?,
        };
        let callers = table.get_mut(&row.called)?;
        let gone = match &row.caller {
            Callers::Anonymous => callers.anonymous.take(),
            Callers::Number(pattern) => callers.numbers.remove(pattern),
        };
        if callers.anonymous.is_none() && callers.numbers.is_empty() {
            table.remove(&row.called);
        }
        let empty = table.is_empty();
        if let Some(from) = row.from.as_ref().filter(|_| empty) {
            self.of_trunk.remove(from);
        }
        self.rows -= usize::from(gone.is_some());
        gone
    }

    /// What a row says.
    pub fn get(&self, row: &Row) -> Option<Verdict> {
        let table = match &row.from {
            None => &self.of_any,
            Some(from) => self.of_trunk.get(from)?,
        };
        let callers = table.get(&row.called)?;
        match &row.caller {
            Callers::Anonymous => callers.anonymous,
            Callers::Number(pattern) => callers.numbers.get(pattern).copied(),
        }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// What the rows say of a call from a trunk. A white row wins over black ones. A caller who withholds a number is meant by
    /// the rows of that number, and by those of who is anonymous.
    pub(crate) fn judge(&self, from: &str, party: &Party) -> Option<Listed> {
        let (caller, called) = (party.caller.as_deref(), &*party.called);
        if self.is_empty() {
            return None;
        }
        let mut worst = None;
        for table in [Some(&self.of_any), self.of_trunk.get(from)].into_iter().flatten() {
            for (every_callee, callers) in table.matching(called) {
                let nobody = party.anonymous.then_some(callers.anonymous).flatten();
                // Without a number, only what means everybody.
                let numbers = callers.numbers.matching(caller.unwrap_or_default());
                let numbers = numbers.filter(|(everybody, _)| *everybody || caller.is_some());
                for verdict in nobody.into_iter().chain(numbers.map(|(_, verdict)| *verdict)) {
                    match verdict {
                        Verdict::White => return Some(Listed::White),
                        Verdict::Black { percent } => worst = worst.max(Some((percent, !every_callee))),
                    }
                }
            }
        }
        worst.map(|(percent, for_callee)| Listed::Black { percent, for_callee })
    }

    /// All rows, in their order.
    pub fn rows(&self) -> Vec<(Row, Verdict)> {
        let of_any = self.of_any.iter().map(|(called, callers)| (None, called, callers));
        let of_trunk = self
            .of_trunk
            .iter()
            .flat_map(|(from, table)| table.iter().map(move |(called, callers)| (Some(from.clone()), called, callers)));
        let mut rows = Vec::with_capacity(self.rows);
        for (from, called, callers) in of_any.chain(of_trunk) {
            let row = |caller| Row { from: from.clone(), caller, called: called.clone() };
            rows.extend(callers.anonymous.map(|verdict| (row(Callers::Anonymous), verdict)));
            rows.extend(callers.numbers.iter().map(|(pattern, verdict)| (row(Callers::Number(pattern)), *verdict)));
        }
        rows.sort_by(|(one, _), (other, _)| one.cmp(other));
        rows
    }
}

#[cfg(test)]
mod tests;
