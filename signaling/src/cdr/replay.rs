//! What the process before has left in the journal.

use std::collections::HashMap;
use std::path::Path;
use std::time::UNIX_EPOCH;

use moorline_b2bua::cdr::{Record, Stage, Time};
use moorline_control::SessionId;
use tracing::warn;

use super::{CdrFault, line, segment};

/// What the process before has left.
#[derive(Debug, Default, Clone)]
pub(crate) struct Before {
    /// Records that did not end, as they were marked last.
    pub(crate) open: Vec<Record>,
    /// Calls whose record has ended, as far as the journal goes back.
    pub(crate) ended: Vec<SessionId>,
    /// Its last sign of life: when it last wrote.
    pub(crate) until: Time,
    /// In which segment each open record was marked last.
    pub(super) marked: HashMap<SessionId, u64>,
    /// The segments, with their lengths.
    pub(super) segments: Vec<(u64, u64)>,
}

/// Reads the journal of a directory. What was not written whole is passed over, and said so.
pub(super) fn replay(directory: &Path) -> Result<Before, CdrFault> {
    let segments = segment::all(directory).map_err(CdrFault::at(directory))?;
    let mut open: HashMap<SessionId, (u64, Vec<u8>)> = HashMap::new();
    let mut ended = std::collections::HashSet::new();
    let (mut damaged, mut until) = (0_u64, Time::default());
    for (number, length) in &segments {
        let path = segment::path(directory, *number);
        let mut reader = segment::Reader::open(&path, 0, *length).map_err(CdrFault::at(&path))?;
        while let Some(text) = reader.next().map_err(CdrFault::at(&path))? {
            let known = line::read(text).and_then(|line| Some((line, line::id(line.json)?.parse::<SessionId>().ok()?)));
            match known {
                Some((line, id)) if line.stage == Stage::Ended => {
                    open.remove(&id);
                    ended.insert(id);
                }
                Some((line, id)) if !ended.contains(&id) => {
                    open.insert(id, (*number, line.json.to_vec()));
                }
                Some(_) => {}
                None => damaged += 1,
            }
        }
        let written = path.metadata().and_then(|metadata| metadata.modified()).ok();
        let since = written.and_then(|written| written.duration_since(UNIX_EPOCH).ok());
        if let Some(since) = since.filter(|_| *length > 0) {
            until = until.max(Time { unix_ms: i64::try_from(since.as_millis()).unwrap_or(i64::MAX) });
        }
    }
    if damaged > 0 {
        warn!(lines = damaged, "parts of the journal of call records were not written whole, and are passed over");
    }
    let marked = open.iter().map(|(id, (number, _))| (*id, *number)).collect();
    let open = open.values().filter_map(|(_, json)| serde_json::from_slice(json).ok()).collect();
    Ok(Before { open, ended: ended.into_iter().collect(), until, marked, segments })
}
