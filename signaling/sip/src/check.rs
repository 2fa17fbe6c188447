//! The rules by which a message that was read is refused.

use crate::header::Params;
use crate::lexical::trim;
use crate::message::{items, read_call_id, read_max_forwards};
use crate::parse::{Entry, Start};
use crate::{CSeq, Fault, Message, Name, NameAddr, Uri, Via};

impl Message<'_> {
    /// Whether the message can be acted on: the SIP version, the framing, the Request-URI, and the header fields
    /// that every message must have (RFC 3261 section 8.1.1), each once and well formed. A request with a fault
    /// is answered with it; a response with a fault is dropped.
    ///
    /// What a refusal would need more than syntax for is left to the caller: schemes (416), extensions (420),
    /// body types (415), hop counts (483).
    pub fn check(&self) -> Result<(), Fault> {
        if let Some(fault) = self.head.fault {
            return Err(fault);
        }
        if let Start::Request { uri, .. } = self.head.start {
            check_request_uri(self.span(uri))?;
        }
        let mandatory = self.check_headers()?;
        let method = CSeq::parse(self.span(mandatory.cseq.value))?.method;
        if self.method().is_some_and(|own| own != method) {
            return Err(Fault::MethodMismatch);
        }
        read_call_id(self.span(mandatory.call_id.value))?;
        mandatory.max_forwards.map(|entry| read_max_forwards(self.span(entry.value))).transpose()?;
        Ok(())
    }

    fn check_headers(&self) -> Result<Mandatory<'_>, Fault> {
        let (mut from, mut to, mut call_id, mut cseq, mut max_forwards) = (None, None, None, None, None);
        let mut via = false;
        for entry in self.entries {
            match entry.name {
                Name::Via => {
                    items(self.span(entry.value)).try_for_each(|value| Via::parse(value).map(|_| ()))?;
                    via = true;
                }
                Name::From => {
                    once(&mut from, entry)?;
                    check_name_addr(self.span(entry.value), Name::From)?;
                }
                Name::To => {
                    once(&mut to, entry)?;
                    check_name_addr(self.span(entry.value), Name::To)?;
                }
                Name::Contact => items(self.span(entry.value))
                    .filter(|value| *value != b"*")
                    .try_for_each(|value| check_name_addr(value, Name::Contact))?,
                Name::CallId => once(&mut call_id, entry)?,
                Name::CSeq => once(&mut cseq, entry)?,
                Name::MaxForwards => once(&mut max_forwards, entry)?,
                _ => {}
            }
        }
        if !via {
            return Err(Fault::Missing(Name::Via));
        }
        from.ok_or(Fault::Missing(Name::From))?;
        to.ok_or(Fault::Missing(Name::To))?;
        let call_id = call_id.ok_or(Fault::Missing(Name::CallId))?;
        Ok(Mandatory { call_id, cseq: cseq.ok_or(Fault::Missing(Name::CSeq))?, max_forwards })
    }
}

/// The header fields that were found to be there once, and are still to be read.
struct Mandatory<'a> {
    call_id: &'a Entry,
    cseq: &'a Entry,
    /// This one may be absent.
    max_forwards: Option<&'a Entry>,
}

fn once<'a>(seen: &mut Option<&'a Entry>, entry: &'a Entry) -> Result<(), Fault> {
    match seen.replace(entry) {
        None => Ok(()),
        Some(_) => Err(Fault::Repeated(entry.name)),
    }
}

fn check_name_addr(value: &[u8], name: Name) -> Result<(), Fault> {
    let address = NameAddr::parse(trim(value)).map_err(|_| Fault::Malformed(name))?;
    match Params::new(address.params).are_well_formed() {
        true => Ok(()),
        false => Err(Fault::Malformed(name)),
    }
}

/// Headers may not stand in a Request-URI (RFC 3261 section 19.1.1).
fn check_request_uri(uri: &[u8]) -> Result<(), Fault> {
    match Uri::parse(uri) {
        Ok(uri) if uri.headers.is_empty() => Ok(()),
        _ => Err(Fault::RequestUri),
    }
}
