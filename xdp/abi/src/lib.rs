//! Layouts that the XDP program and its loader share: plain `repr(C)` data, the same bytes on both sides.
#![no_std]
#![forbid(unsafe_code)]

pub mod forward;
pub mod lookup;
