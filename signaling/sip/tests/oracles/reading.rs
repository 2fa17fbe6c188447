//! What a parser says of a message, by what it is about.

use std::collections::BTreeMap;

use moorline_sip::{Message, Name, NameAddr, Via};

pub(crate) type Reading = BTreeMap<String, String>;

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A value with its folds undone.
pub(crate) fn unfolded(value: &[u8]) -> String {
    let value = text(value);
    let parts: Vec<_> = value.lines().map(str::trim).collect();
    parts.join(" ").trim().to_owned()
}

/// A header's name in full if it has one, else in small letters.
pub(crate) fn name(name: &[u8]) -> String {
    match Name::new(name) {
        Name::Other => text(name).to_ascii_lowercase(),
        known => known.text().to_owned(),
    }
}

/// What is not there, or cannot be read.
pub(crate) const NOTHING: &str = "nothing";

pub(crate) fn or_nothing<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| NOTHING.to_owned(), |value| value.to_string())
}

/// What Moorline says.
pub(crate) fn read(message: Message<'_>) -> Reading {
    let mut reading = Reading::new();
    let mut say = |what: &str, value: String| reading.insert(what.to_owned(), value);
    match message.method() {
        Some(method) => say("method", text(method.as_bytes())),
        None => say("status", or_nothing(message.status())),
    };
    say("headers", message.lines().count().to_string());
    for (nth, line) in message.lines().enumerate() {
        say(&format!("header {nth} name"), name(line.name_text));
        say(&format!("header {nth} value"), unfolded(line.value));
    }
    say("body", text(message.body()));
    say("cseq number", or_nothing(message.cseq().ok().map(|cseq| cseq.number)));
    say("cseq method", or_nothing(message.cseq().ok().map(|cseq| text(cseq.method.as_bytes()))));
    say("call-id", or_nothing(message.call_id().ok().map(text)));
    say("max-forwards", or_nothing(message.max_forwards().ok().flatten()));
    for (what, address) in [("from", message.from()), ("to", message.to())] {
        let address = address.ok();
        say(&format!("{what} tag"), or_nothing(address.and_then(|address| address.tag()).map(text)));
        say(&format!("{what} params"), or_nothing(address.map(|address| params(&address))));
    }
    for (nth, value) in message.values(Name::Via).enumerate() {
        let via = Via::parse(value).ok();
        say(&format!("via {nth} transport"), or_nothing(via.map(|via| text(via.transport).to_ascii_uppercase())));
        say(&format!("via {nth} host"), or_nothing(via.map(|via| host(via.host))));
        say(&format!("via {nth} port"), or_nothing(via.and_then(|via| via.port)));
        say(&format!("via {nth} branch"), or_nothing(via.and_then(|via| via.branch).map(text)));
    }
    for (nth, value) in message.values(Name::Contact).enumerate() {
        let address = NameAddr::parse(value).ok();
        say(&format!("contact {nth} params"), or_nothing(address.map(|address| params(&address))));
    }
    say("expires", or_nothing(message.expires()));
    say("session-expires", or_nothing(message.session_expires().ok().flatten().map(|expires| expires.seconds)));
    say("min-se", or_nothing(message.min_se().ok().flatten()));
    say("rseq", or_nothing(message.rseq().ok().flatten()));
    say("replaces", or_nothing(message.replaces().ok().flatten().map(|replaces| text(replaces.call_id))));
    reading
}

/// A host as an address, if it is one, or in small letters.
pub(crate) fn host(host: &[u8]) -> String {
    let host = text(host).to_ascii_lowercase();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    address.map_or(host, |address| address.to_string())
}

/// The names of the header parameters.
fn params(address: &NameAddr<'_>) -> String {
    moorline_sip::Params::new(address.params).filter(|(name, _)| !name.is_empty()).count().to_string()
}
