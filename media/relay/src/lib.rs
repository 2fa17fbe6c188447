//! The relay of one shard, sans-IO: which packet goes where, and what was seen of it.
#![forbid(unsafe_code)]
