//! What ezk-sip-types says of a message.

use bytes::Bytes;
use ezk_sip_types::header::HeaderParse;
use ezk_sip_types::header::typed::{
    CSeq, CallID, Contact, Expires, FromTo, MaxForwards, MinSe, RSeq, SessionExpires, Via,
};
use ezk_sip_types::msg::{Line, MessageLine, PullParser};
use ezk_sip_types::parse::Parse;

use crate::reading::{Reading, host, name, or_nothing, unfolded};

pub(crate) fn read(bytes: &[u8]) -> Option<Reading> {
    let src = Bytes::copy_from_slice(bytes);
    let lines: Option<Vec<&str>> = PullParser::new(&src, 0).map(|line| std::str::from_utf8(line.ok()?).ok()).collect();
    let lines = lines?;
    let mut reading = Reading::new();
    let mut say = |what: String, value: String| reading.insert(what, value);
    match MessageLine::parse(&src)(lines.first()?).ok()?.1 {
        MessageLine::Request(request) => say("method".into(), request.method.to_string()),
        MessageLine::Response(response) => say("status".into(), response.code.into_u16().to_string()),
    };
    say("headers".into(), (lines.len() - 1).to_string());
    let (mut vias, mut contacts) = (0, 0);
    for (nth, line) in lines[1..].iter().enumerate() {
        let Ok((_, line)) = Line::parse(&src, line) else {
            say(format!("header {nth} name"), "nothing".into());
            continue;
        };
        let value = line.value.as_bytes();
        let name = name(line.name.as_print_str().as_bytes());
        say(format!("header {nth} value"), unfolded(value));
        match name.as_str() {
            "CSeq" => {
                let cseq = parse::<CSeq>(value);
                say("cseq number".into(), or_nothing(cseq.as_ref().map(|cseq| cseq.cseq)));
                say("cseq method".into(), or_nothing(cseq.map(|cseq| cseq.method.to_string())));
            }
            "From" | "To" => {
                let what = name.to_ascii_lowercase();
                let address = parse::<FromTo>(value);
                let tag = address.and_then(|address| address.tag.map(|tag| tag.to_string()));
                say(format!("{what} tag"), or_nothing(tag));
            }
            "Call-ID" => drop(say("call-id".into(), or_nothing(parse::<CallID>(value).map(|id| id.0.to_string())))),
            "Max-Forwards" => {
                say("max-forwards".into(), or_nothing(parse::<MaxForwards>(value).map(|hops| hops.0)));
            }
            "Expires" => drop(say("expires".into(), or_nothing(parse::<Expires>(value).map(|expires| expires.0)))),
            "Min-SE" => drop(say("min-se".into(), or_nothing(parse::<MinSe>(value).map(|min_se| min_se.0)))),
            "RSeq" => drop(say("rseq".into(), or_nothing(parse::<RSeq>(value).map(|rseq| rseq.0)))),
            "Session-Expires" => {
                let expires = parse::<SessionExpires>(value).map(|expires| expires.delta_secs);
                say("session-expires".into(), or_nothing(expires));
            }
            "Via" => {
                for via in split(value) {
                    let via = parse::<Via>(via.as_bytes());
                    let transport = via.as_ref().map(|via| via.transport.to_string().to_ascii_uppercase());
                    say(format!("via {vias} transport"), or_nothing(transport));
                    let shown = via.as_ref().map(|via| host(via.sent_by.host.to_string().as_bytes()));
                    say(format!("via {vias} host"), or_nothing(shown));
                    say(format!("via {vias} port"), or_nothing(via.as_ref().and_then(|via| via.sent_by.port)));
                    let branch = via.and_then(|via| via.params.get_val("branch").map(ToString::to_string));
                    say(format!("via {vias} branch"), or_nothing(branch));
                    vias += 1;
                }
            }
            "Contact" => {
                for contact in split(value).iter().filter(|contact| contact.as_str() != "*") {
                    let contact = parse::<Contact>(contact.as_bytes());
                    let params = contact.map(|contact| contact.params.to_string().matches(';').count());
                    say(format!("contact {contacts} params"), or_nothing(params));
                    contacts += 1;
                }
            }
            _ => {}
        }
        say(format!("header {nth} name"), name);
    }
    Some(reading)
}

fn parse<T: HeaderParse>(value: &[u8]) -> Option<T> {
    let src = Bytes::copy_from_slice(value);
    T::parse(&src, std::str::from_utf8(&src).ok()?).ok().map(|(_, parsed)| parsed)
}

/// The values of a list: this parser takes one at a time, and is given one.
fn split(value: &[u8]) -> Vec<String> {
    let text = format!("X sip:a@b SIP/2.0\r\nVia: {}\r\n\r\n", String::from_utf8_lossy(value));
    let mut index = moorline_sip::Index::new();
    let values = index.parse(text.as_bytes()).map(|message| {
        message.values(moorline_sip::Name::Via).map(|value| String::from_utf8_lossy(value).into_owned()).collect()
    });
    values.unwrap_or_default()
}
