//! What an operator does with a stand: commands, requests, another configuration.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Output};

use super::Stand;

/// A command that finds the process by its configuration.
pub(crate) fn moorline(stand: &Stand, args: &[&str]) -> Output {
    let file = stand.folder.path().join("up.toml");
    Command::new(env!("CARGO_BIN_EXE_moorline")).args(args).arg("--config").arg(file).output().expect("it runs")
}

pub(crate) fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].concat().iter().map(|byte| char::from(*byte)).collect()
}

pub(crate) fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("JSON, not {}", said(output)))
}

/// Asks the process's socket by HTTP: the status, and what it says.
pub(crate) fn post(stand: &Stand, path: &str, body: &str) -> (u16, serde_json::Value) {
    let mut stream = UnixStream::connect(stand.folder.path().join("signaling.sock")).expect("a connection");
    let length = body.len();
    let head = format!("POST /api/v1/{path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\nConnection: close");
    write!(stream, "{head}\r\n\r\n{body}").expect("asked");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("answered");
    let (head, body) = text.split_once("\r\n\r\n").expect("an answer");
    let status: u16 = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, serde_json::from_str::<serde_json::Value>(body).expect("JSON"))
}

/// Changes the file that the stand was started with, at once for whoever reads it.
pub(crate) fn edit(stand: &Stand, old: &str, new: &str) {
    let file = stand.folder.path().join("up.toml");
    let text = std::fs::read_to_string(&file).expect("readable");
    assert!(text.contains(old), "{old}");
    let next = file.with_extension("next");
    std::fs::write(&next, text.replacen(old, new, 1)).expect("written");
    std::fs::rename(next, file).expect("renamed");
}
