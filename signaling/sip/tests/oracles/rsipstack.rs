//! What rsipstack says of a message.

use rsipstack::sip::typed::{CSeq, Contact, From, To, Via};
use rsipstack::sip::{Header, SipMessage};

use crate::reading::{Reading, host, name, or_nothing, text, unfolded};

/// More Vias than there are.
const LISTED: usize = 1_000;

pub(crate) fn read(bytes: &[u8]) -> Option<Reading> {
    let message = SipMessage::try_from(bytes).ok()?;
    let mut reading = Reading::new();
    let mut say = |what: String, value: String| reading.insert(what, value);
    let (headers, body) = match &message {
        SipMessage::Request(request) => {
            say("method".into(), request.method.to_string());
            (&request.headers, request.body())
        }
        SipMessage::Response(response) => {
            say("status".into(), response.status_code.code().to_string());
            (&response.headers, response.body())
        }
    };
    let mut vias = 0;
    for (nth, header) in headers.iter().enumerate() {
        say(format!("header {nth} name"), name(header.name().as_bytes()));
        say(format!("header {nth} value"), unfolded(header.value().as_bytes()));
        match header {
            Header::CSeq(cseq) => {
                let cseq = CSeq::parse(cseq.value()).ok();
                say("cseq number".into(), or_nothing(cseq.as_ref().map(|cseq| cseq.seq)));
                say("cseq method".into(), or_nothing(cseq.map(|cseq| cseq.method.to_string())));
            }
            Header::From(from) => {
                let from = From::parse(from.value()).ok();
                let tag = from.as_ref().and_then(|from| from.tag().map(|tag| tag.value().trim().to_owned()));
                say("from tag".into(), or_nothing(tag));
            }
            Header::To(to) => {
                let to = To::parse(to.value()).ok();
                say("to tag".into(), or_nothing(to.and_then(|to| to.tag().map(|tag| tag.value().trim().to_owned()))));
            }
            Header::CallId(call_id) => drop(say("call-id".into(), call_id.value().trim().to_owned())),
            Header::MaxForwards(hops) => {
                say("max-forwards".into(), or_nothing(hops.value().trim().parse::<u32>().ok()));
            }
            Header::Expires(expires) => {
                say("expires".into(), or_nothing(expires.value().trim().parse::<u32>().ok()));
            }
            // This parser takes a list for one value: it is asked for those that come before any list.
            Header::Via(via) if vias < LISTED && !via.value().contains(',') => {
                let via = Via::parse(via.value()).ok();
                let sent_by = via.as_ref().map(|via| via.sent_by().clone());
                say(format!("via {vias} transport"), or_nothing(via.as_ref().map(|via| via.transport.to_string())));
                let shown = sent_by.as_ref().map(|sent_by| host(sent_by.host.to_string().as_bytes()));
                say(format!("via {vias} host"), or_nothing(shown));
                let port = sent_by.and_then(|sent_by| sent_by.port).map(|port| port.to_string());
                say(format!("via {vias} port"), or_nothing(port));
                let branch = via.and_then(|via| via.branch().map(|branch| branch.value().trim().to_owned()));
                say(format!("via {vias} branch"), or_nothing(branch));
                vias += 1;
            }
            Header::Via(_) => vias = LISTED,
            Header::Contact(contact) if !contact.value().contains(',') && contact.value().trim() != "*" => {
                let contact = Contact::parse(contact.value()).ok();
                if headers.iter().filter(|header| matches!(header, Header::Contact(_))).count() == 1 {
                    say("contact 0 params".into(), or_nothing(contact.map(|contact| contact.params.len())));
                }
            }
            _ => {}
        }
    }
    if headers.iter().any(|header| matches!(header, Header::ContentLength(_))) {
        reading.insert("body".into(), text(body));
    }
    reading.insert("headers".into(), headers.iter().count().to_string());
    Some(reading)
}
