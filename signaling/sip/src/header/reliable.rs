//! Reliable provisional responses (RFC 3262 section 7).

use super::CSeq;
use crate::lexical::{is_lws, number, trim_start};
use crate::{Fault, Message, Method, Name};

/// RAck: which response a PRACK acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RAck<'a> {
    /// The RSeq of the response.
    pub rseq: u32,
    /// The CSeq number of the request that it answered.
    pub cseq: u32,
    /// The method of that request.
    pub method: Method<'a>,
}

impl<'a> RAck<'a> {
    /// Reads a value.
    pub fn parse(value: &'a [u8]) -> Result<RAck<'a>, Fault> {
        RAck::read(value).ok_or(Fault::Malformed(Name::RAck))
    }

    fn read(value: &'a [u8]) -> Option<RAck<'a>> {
        let (digits, rest) = value.split_at(value.iter().position(|&byte| is_lws(byte))?);
        let CSeq { number, method } = CSeq::parse(trim_start(rest)).ok()?;
        Some(RAck { rseq: rseq(digits)?, cseq: number, method })
    }
}

/// From 1 on (RFC 3262 section 7.1).
fn rseq(digits: &[u8]) -> Option<u32> {
    u32::try_from(number(digits)?).ok().filter(|number| *number > 0)
}

impl<'a> Message<'a> {
    /// RAck; `None` if it is absent.
    pub fn rack(&self) -> Result<Option<RAck<'a>>, Fault> {
        self.header(Name::RAck).map(RAck::parse).transpose()
    }

    /// RSeq; `None` if it is absent: the response is not reliable.
    pub fn rseq(&self) -> Result<Option<u32>, Fault> {
        self.header(Name::RSeq).map(|value| rseq(value).ok_or(Fault::Malformed(Name::RSeq))).transpose()
    }
}
