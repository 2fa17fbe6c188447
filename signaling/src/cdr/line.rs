//! One mark of a record as a line of the journal: a checksum, the stage, the record in JSON.

use moorline_b2bua::cdr::{Record, Stage};

/// The checksum in hexadecimal digits, a blank, the stage, a blank.
const HEAD: usize = 16 + 3;

/// A line that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) stage: Stage,
    /// It was copied from an older segment: sinks have seen it there.
    pub(super) carried: bool,
    pub(super) json: &'a [u8],
}

/// Appends a line.
pub(super) fn write(out: &mut Vec<u8>, stage: Stage, record: &Record) {
    let from = out.len();
    out.resize(from + HEAD, b' ');
    // Writing into a vector does not fail, and a record has no keys that are no text.
    if serde_json::to_writer(&mut *out, record).is_err() {
        return out.truncate(from);
    }
    seal(out, from, letter(stage));
}

/// Appends a line that was read elsewhere.
pub(super) fn carry(out: &mut Vec<u8>, line: Line<'_>) {
    let from = out.len();
    out.resize(from + HEAD, b' ');
    out.extend_from_slice(line.json);
    seal(out, from, letter(line.stage).to_ascii_lowercase());
}

fn seal(out: &mut Vec<u8>, from: usize, letter: u8) {
    out[from + 17] = letter;
    let sum = format!("{:016x}", checksum(&out[from + 17..]));
    out[from..from + 16].copy_from_slice(sum.as_bytes());
    out.push(b'\n');
}

/// Reads a line, without its end; `None` for what was not written whole.
pub(super) fn read(line: &[u8]) -> Option<Line<'_>> {
    let sum = std::str::from_utf8(line.get(..16)?).ok()?;
    let json = line.get(HEAD..)?;
    if u64::from_str_radix(sum, 16).ok()? != checksum(&line[17..]) {
        return None;
    }
    let letter = line[17];
    let stage = STAGES.into_iter().find(|stage| self::letter(*stage) == letter.to_ascii_uppercase())?;
    Some(Line { stage, carried: letter.is_ascii_lowercase(), json })
}

/// The id of a record in JSON: its first key.
pub(super) fn id(json: &[u8]) -> Option<&str> {
    let rest = json.strip_prefix(b"{\"id\":\"")?;
    std::str::from_utf8(&rest[..rest.iter().position(|byte| *byte == b'"')?]).ok()
}

const STAGES: [Stage; 6] = [Stage::Begun, Stage::Ringing, Stage::Answered, Stage::Going, Stage::Ending, Stage::Ended];

fn letter(stage: Stage) -> u8 {
    match stage {
        Stage::Begun => b'B',
        Stage::Ringing => b'R',
        Stage::Answered => b'A',
        Stage::Going => b'G',
        Stage::Ending => b'E',
        Stage::Ended => b'D',
    }
}

/// FNV-1a: it finds what a crash leaves of a line, and need not withstand an enemy.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_changed_is_not() {
        let record = Record { id: "0001".into(), called_number: "a\nb\"c".into(), ..Record::default() };
        let mut text = Vec::new();
        STAGES.into_iter().for_each(|stage| write(&mut text, stage, &record));
        let lines: Vec<&[u8]> = text.strip_suffix(b"\n").unwrap().split(|byte| *byte == b'\n').collect();
        assert_eq!(lines.len(), STAGES.len());
        for (line, stage) in lines.iter().zip(STAGES) {
            let read = read(line).unwrap();
            assert_eq!((read.stage, read.carried, id(read.json)), (stage, false, Some("0001")));
            assert_eq!(serde_json::from_slice::<Record>(read.json).unwrap(), record);
            let mut carried = Vec::new();
            carry(&mut carried, read);
            let again = super::read(carried.strip_suffix(b"\n").unwrap()).unwrap();
            assert_eq!(again, Line { carried: true, ..read });
        }
        let line = lines[0];
        for at in 0..line.len() {
            let mut changed = line.to_vec();
            changed[at] ^= 0x04;
            // The blank before the stage says nothing.
            assert!(at == 16 || read(&changed).is_none_or(|read| read.json == &line[HEAD..] && at < 16), "{at}");
            assert_eq!(read(&line[..at]), None, "cut at {at}");
        }
    }
}
