//! The registrar (RFC 3261 section 10.3): which users are reached where, and until when.
//!
//! One worker of a process writes bindings; the others are told of them and only look them up. What a REGISTER does
//! to the bindings of its user is in [`register`]; nothing here sends or answers anything.

mod binding;
mod location;
mod register;
mod stored;

pub(crate) use binding::{Aor, Binding, is_behind_nat};
pub(crate) use location::Location;
pub(crate) use register::{Refusal, Rules, register};
pub(crate) use stored::{decode, encode, key, key_of};

#[cfg(test)]
mod tests;
