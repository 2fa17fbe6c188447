//! Call flows through a worker, in virtual time.
#![cfg(test)]

mod calls;
mod harness;
mod reinvites;
mod restarts;
