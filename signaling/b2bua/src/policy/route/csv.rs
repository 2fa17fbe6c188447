//! Routes from a file: one a line, columns by their names in the first one.

use std::collections::HashMap;

use csv::{ByteRecord, ReaderBuilder};
use moorline_sip::{Scheme, Uri, reason_phrase};

use super::prefixes::MAX_PREFIX;
use super::{Decision, RoutesBuilder, Way};
use crate::policy::Refusal;

/// What names in a file stand for.
pub struct Names<'a> {
    /// A trunk that calls come from.
    pub trunk: &'a dyn Fn(&str) -> Option<usize>,
    /// Where calls go: a trunk or several.
    pub way: &'a dyn Fn(&str) -> Option<Way>,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowFault {
    /// Which, from 1.
    pub line: u64,
    /// The column.
    pub column: String,
    /// What is wrong there.
    pub problem: String,
}

/// Nobody reads more faults than these.
const MAX_FAULTS: usize = 20;

const COLUMNS: [&str; 7] = ["prefix", "caller_prefix", "from", "when", "to", "redirect", "refuse"];
const PREFIX: usize = 0;
const CALLER: usize = 1;
const FROM: usize = 2;
const WHEN: usize = 3;
const TO: usize = 4;
const REDIRECT: usize = 5;
const REFUSE: usize = 6;

/// What texts were found to stand for: a file of a million lines has few of each.
#[derive(Default)]
struct Known {
    from: HashMap<Box<str>, usize>,
    when: HashMap<Box<str>, u32>,
    ways: [HashMap<Box<str>, u32>; 3],
}

impl RoutesBuilder {
    /// Adds the routes of a CSV file (RFC 4180), and returns the line of each. Its first line names the columns: `prefix`,
    /// and `to`, `redirect` or `refuse` (a status, and perhaps a reason), of which each route has one; and, where they are
    /// wanted, `caller_prefix`, `from` (a trunk) and `when` ([`Times`](super::Times)).
    ///
    /// # Errors
    /// Lines that are no routes; of many the first.
    pub fn read_csv(&mut self, bytes: &[u8], names: &Names<'_>) -> Result<Vec<u64>, Vec<RowFault>> {
        let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
        let fault = |line, column: &str, problem: String| RowFault { line, column: column.to_owned(), problem };
        let mut record = ByteRecord::new();
        let unreadable = |error: csv::Error| {
            let line = error.position().map_or(1, csv::Position::line);
            fault(line, "prefix", format!("no CSV: {error}"))
        };
        let positions = match reader.read_byte_record(&mut record) {
            Ok(_) => columns(&record).map_err(|(column, problem)| vec![fault(1, &column, problem)])?,
            Err(error) => return Err(vec![unreadable(error)]),
        };
        let (mut known, mut faults, mut lines) = (Known::default(), Vec::new(), Vec::new());
        let width = record.len();
        while faults.len() < MAX_FAULTS {
            match reader.read_byte_record(&mut record) {
                Ok(false) => break,
                Ok(true) => {}
                Err(error) => {
                    faults.push(unreadable(error));
                    break;
                }
            }
            // Of CR LF the LF is read with the record behind it.
            let behind = |at: &csv::Position| u64::from(bytes.get(at.byte() as usize) == Some(&b'\n'));
            let line = record.position().map_or(0, |at| at.line() + behind(at));
            let added = match record.len() == width {
                true => self.add_row(&record, &positions, names, &mut known),
                false => Err((PREFIX, format!("{} columns, and {width} are named", record.len()))),
            };
            match added {
                Ok(()) => lines.push(line),
                Err((column, problem)) => faults.push(fault(line, COLUMNS[column], problem)),
            }
        }
        if faults.is_empty() { Ok(lines) } else { Err(faults) }
    }

    fn add_row(
        &mut self,
        record: &ByteRecord,
        positions: &[Option<usize>; 7],
        names: &Names<'_>,
        known: &mut Known,
    ) -> Result<(), (usize, String)> {
        let field = |column: usize| {
            let field = positions[column].and_then(|at| record.get(at)).unwrap_or_default().trim_ascii();
            std::str::from_utf8(field).map_err(|_| (column, "no text".to_owned()))
        };
        let prefix = |column: usize| {
            let text = field(column)?;
            check_prefix(text).map_err(|problem| (column, problem)).map(|()| text)
        };
        let (called, caller, from, when) = (prefix(PREFIX)?, prefix(CALLER)?, field(FROM)?, field(WHEN)?);
        let from = match known.from.get(from) {
            _ if from.is_empty() => None,
            Some(trunk) => Some(*trunk),
            None => {
                let trunk = (names.trunk)(from).ok_or_else(|| (FROM, format!("no trunk is called {from:?}")))?;
                known.from.insert(from.into(), trunk);
                Some(trunk)
            }
        };
        let when = match known.when.get(when) {
            _ if when.is_empty() => None,
            Some(times) => Some(*times),
            None => {
                let times = self.times(when.parse().map_err(|error| (WHEN, format!("{error}")))?);
                known.when.insert(when.into(), times);
                Some(times)
            }
        };
        let mut ways =
            (TO..=REFUSE).filter_map(|column| Some((column, field(column).ok()?))).filter(|w| !w.1.is_empty());
        let (Some((column, text)), None) = (ways.next(), ways.next()) else {
            return Err((TO, "a route has exactly one of to, redirect and refuse".into()));
        };
        let decision = match known.ways[column - TO].get(text) {
            Some(decision) => *decision,
            None => {
                let way = match column {
                    REDIRECT => Way::redirect(text),
                    REFUSE => Way::refuse(text),
                    _ => (names.way)(text).ok_or_else(|| format!("no trunk or group is called {text:?}")),
                };
                let to = way.map_err(|problem| (column, problem))?;
                let decision = self.decision(Decision { to, ..Decision::default() });
                known.ways[column - TO].insert(text.into(), decision);
                decision
            }
        };
        let added = self.add(called, caller, from, when, decision);
        if added { Ok(()) } else { Err((PREFIX, "there are too many routes".into())) }
    }
}

impl Way {
    /// A redirection to a SIP URI, in which `{number}` stands for the called number.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn redirect(text: &str) -> Result<Way, String> {
        let example = text.replace("{number}", "1000");
        let uri = Uri::parse(example.as_bytes());
        let is_sip = uri.is_ok_and(|uri| matches!(uri.scheme, Scheme::Sip | Scheme::Sips));
        if is_sip { Ok(Way::Redirect(text.to_owned())) } else { Err(format!("{text:?} is no SIP URI")) }
    }

    /// A refusal: a status from 400 to 699, and a reason phrase if it is not the status's own.
    fn refuse(text: &str) -> Result<Way, String> {
        let (status, reason) = text.split_once(' ').unwrap_or((text, ""));
        let status: u16 = status.parse().map_err(|_| format!("{text:?} begins with no status"))?;
        if !(400..700).contains(&status) {
            return Err(format!("{status} refuses nothing"));
        }
        let reason = if reason.is_empty() { reason_phrase(status) } else { reason };
        Ok(Way::Refuse(Refusal::new(status, reason)))
    }
}

/// What is wrong with a prefix.
///
/// # Errors
/// It is one of no number.
pub fn check_prefix(text: &str) -> Result<(), String> {
    if text.len() > MAX_PREFIX {
        return Err(format!("a prefix has {MAX_PREFIX} characters at most"));
    }
    let stands = |byte: u8| byte.is_ascii_graphic();
    if text.bytes().all(stands) { Ok(()) } else { Err(format!("no number begins with {text:?}")) }
}

/// Where the columns are.
fn columns(record: &ByteRecord) -> Result<[Option<usize>; 7], (String, String)> {
    let mut positions = [None; 7];
    for (at, name) in record.iter().enumerate() {
        let name = String::from_utf8_lossy(name).trim().trim_start_matches('\u{feff}').to_owned();
        let Some(column) = COLUMNS.iter().position(|column| *column == name) else {
            return Err((name, format!("no such column: {} are", COLUMNS.join(", "))));
        };
        positions[column] = Some(at);
    }
    let missing = |name: &str| Err((name.to_owned(), format!("the first line names no column {name:?}")));
    if positions[PREFIX].is_none() {
        return missing("prefix");
    }
    if positions[TO..].iter().all(Option::is_none) {
        return missing("to");
    }
    Ok(positions)
}
