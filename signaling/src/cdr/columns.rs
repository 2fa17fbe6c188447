//! A record as one row: for tables and files that have no structure.

use std::net::SocketAddr;

use moorline_b2bua::cdr::{Party, Record, Time};

/// What a value is to a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    Real,
    Time,
}

/// The columns, in their order. New ones come at the end: files and tables that are there have these.
pub(super) const COLUMNS: [(&str, Kind); 53] = [
    ("id", Kind::Text),
    ("node", Kind::Number),
    ("setup", Kind::Time),
    ("ring", Kind::Time),
    ("answer", Kind::Time),
    ("end_time", Kind::Time),
    ("duration_ms", Kind::Number),
    ("ended_by", Kind::Text),
    ("cause", Kind::Text),
    ("release_reason", Kind::Text),
    ("caller_number", Kind::Text),
    ("caller_number_sent", Kind::Text),
    ("called_number", Kind::Text),
    ("called_number_sent", Kind::Text),
    ("account", Kind::Text),
    ("bypassed", Kind::Number),
    ("transferred_from", Kind::Text),
    ("transferred_to", Kind::Text),
    ("tries", Kind::Text),
    ("caller_trunk", Kind::Text),
    ("caller_user", Kind::Text),
    ("caller_call_id", Kind::Text),
    ("caller_code", Kind::Number),
    ("caller_reason", Kind::Text),
    ("caller_signaling", Kind::Text),
    ("caller_transport", Kind::Text),
    ("caller_media", Kind::Text),
    ("caller_local_media", Kind::Text),
    ("caller_packets", Kind::Number),
    ("caller_bytes", Kind::Number),
    ("caller_lost", Kind::Number),
    ("caller_jitter_us", Kind::Number),
    ("caller_mos", Kind::Real),
    ("caller_codec", Kind::Text),
    ("caller_payload_type", Kind::Number),
    ("callee_trunk", Kind::Text),
    ("callee_user", Kind::Text),
    ("callee_call_id", Kind::Text),
    ("callee_code", Kind::Number),
    ("callee_reason", Kind::Text),
    ("callee_signaling", Kind::Text),
    ("callee_transport", Kind::Text),
    ("callee_media", Kind::Text),
    ("callee_local_media", Kind::Text),
    ("callee_packets", Kind::Number),
    ("callee_bytes", Kind::Number),
    ("callee_lost", Kind::Number),
    ("callee_jitter_us", Kind::Number),
    ("callee_mos", Kind::Real),
    ("callee_codec", Kind::Text),
    ("callee_payload_type", Kind::Number),
    ("failed_tries", Kind::Number),
    ("setup_unix_ms", Kind::Number),
];

/// The values of a record, as text, in the order of [`COLUMNS`]; `None` for what there is not.
pub(super) fn row(record: &Record) -> Vec<Option<String>> {
    let number = |value: u64| Some(value.to_string());
    let time = |time: Option<Time>| time.map(|time| time.to_string());
    let text = |value: &str| (!value.is_empty()).then(|| value.to_owned());
    let mut row = Vec::with_capacity(COLUMNS.len());
    row.extend([
        text(&record.id),
        number(record.node.into()),
        time(Some(record.setup)),
        time(record.ring),
        time(record.answer),
        time(record.end),
        number(record.duration_ms),
        record.ended_by.map(|by| by.as_str().to_owned()),
        record.cause.clone(),
        record.release_reason.clone(),
        text(&record.caller_number),
        text(&record.caller_number_sent),
        text(&record.called_number),
        text(&record.called_number_sent),
        text(&record.account),
        number(record.bypassed.into()),
        record.transferred_from.clone(),
        record.transferred_to.clone(),
        serde_json::to_string(&record.tries).ok(),
    ]);
    party(&mut row, &record.caller);
    party(&mut row, &record.callee);
    let failed = record.tries.iter().filter(|tried| tried.code.is_none_or(|code| code >= 300)).count();
    row.extend([number(failed as u64), Some(record.setup.unix_ms.to_string())]);
    row
}

fn party(row: &mut Vec<Option<String>>, party: &Party) {
    let text = |value: &str| (!value.is_empty()).then(|| value.to_owned());
    let address = |address: Option<SocketAddr>| address.map(|address| address.to_string());
    let media = &party.media;
    row.extend([
        text(&party.trunk),
        party.user.clone(),
        text(&party.call_id),
        party.code.map(|code| code.to_string()),
        party.reason.clone(),
        address(party.signaling),
        text(&party.transport),
        address(media.media),
        address(media.local_media),
        Some(media.packets.to_string()),
        Some(media.bytes.to_string()),
        Some(media.lost.to_string()),
        Some(media.jitter_us.to_string()),
        media.mos.map(|mos| format!("{mos:.2}")),
        media.codec.clone(),
        media.payload_type.map(|payload_type| payload_type.to_string()),
    ]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_has_its_value() {
        let record = Record { id: "7".into(), ..Record::default() };
        let row = row(&record);
        assert_eq!(row.len(), COLUMNS.len());
        let of = |name: &str| &row[COLUMNS.iter().position(|(column, _)| *column == name).unwrap()];
        assert_eq!(of("id").as_deref(), Some("7"));
        assert_eq!(of("callee_packets").as_deref(), Some("0"));
        assert_eq!(of("failed_tries").as_deref(), Some("0"));
        assert_eq!(of("answer"), &None);
    }
}
