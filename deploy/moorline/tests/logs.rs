//! Logs that nobody reads, or nobody can: calls go on, and what is lost of the log is counted, and said.
#![cfg(test)]

mod stand;

use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use moorline_bench::load;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::Signal;
use stand::Stand;

/// A pipe that takes nothing more until somebody reads it.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().expect("a pipe");
    let mode = |flags| fcntl(&writer, FcntlArg::F_SETFL(flags)).expect("set");
    mode(OFlag::O_NONBLOCK);
    let mut rest = &writer;
    while rest.write(b"taken\n").is_ok() {}
    mode(OFlag::empty());
    writer.flush().expect("a pipe has nothing to flush");
    (reader, writer)
}

fn calls_go_through(stand: &Stand, seed: u64) {
    let plan = load::Plan { seed, ..stand.plan(10, Duration::from_secs(1)) };
    let report = load::run(&plan, &mut |_| {}).expect("the load runs");
    assert!(report.is_clean(), "{report:#?}");
}

fn lost(stand: &Stand) -> [f64; 2] {
    let name = "moorline_log_lost_lines_total";
    [stand.signaling_value(name), stand.media_value(name)].map(|lost| lost.expect("it answers"))
}

/// Has the process that listens there write a line, if it does not look away.
fn provoke(socket: &Path, with: &[u8]) {
    if let Ok(mut stream) = UnixStream::connect(socket) {
        // It may have hung up already.
        let _gone = stream.write_all(with);
    }
}

#[test]
fn a_log_that_nobody_reads_holds_up_no_call() {
    let (reader, writer) = full_pipe();
    let mut stand = Stand::start_logging_to(writer, "up", 111);
    stand.until_connected();
    calls_go_through(&stand, 1);
    // Each of these is told of in the log, by all three processes.
    let mut command = Command::new(env!("CARGO_BIN_EXE_moorline"));
    command.args(["reload", "--config"]).arg(stand.folder.path().join("up.toml"));
    assert!(command.status().expect("it runs").success());
    stand.kill_and_await_successor("signaling");
    stand.until_connected();
    stand.kill_and_await_successor("media");
    stand.until("signaling has heard of it", || {
        stand.signaling_value("moorline_sip_media_connections_total") == Some(2.0)
    });
    stand.until_connected();
    calls_go_through(&stand, 2);
    stand.until_nothing_is_left();
    assert_eq!(lost(&stand), [0.0; 2], "there is room for these few");
    assert_eq!(stand.end(Signal::SIGTERM), Some(0));
    drop(reader);
}

#[test]
fn what_a_log_has_no_room_for_is_counted_and_said_when_it_flows_again() {
    let (mut reader, writer) = full_pipe();
    let mut stand = Stand::start_logging_to(writer, "up", 112);
    stand.until_connected();
    let commands = stand.folder.path().join("signaling.sock");
    stand.until("both have lost lines", || {
        for _ in 0..500 {
            provoke(&commands, b"{");
            provoke(&stand.control(), b"\0\0\0\x01?");
        }
        lost(&stand).iter().all(|lost| *lost > 0.0)
    });
    calls_go_through(&stand, 1);
    let reads = thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).map(|_| text)
    });
    calls_go_through(&stand, 2);
    let lost = lost(&stand);
    assert_eq!(stand.end(Signal::SIGTERM), Some(0));
    let text = reads.join().expect("it reads").expect("text");
    // It is said once by each, or as often as it has happened again.
    let told = text.lines().filter_map(|line| line.split_once(" lines were lost"));
    let told: f64 = told.filter_map(|(line, _)| line.rsplit(' ').next()?.parse::<f64>().ok()).sum();
    assert_eq!(told, lost.iter().sum::<f64>(), "{}", &text[text.len().saturating_sub(4000)..]);
    assert_eq!(text.matches("process stopped").count(), 2, "the last lines are there");
}

#[test]
fn a_log_whose_reader_is_gone_harms_nothing() {
    let (reader, writer) = pipe().expect("a pipe");
    drop(reader);
    let mut stand = Stand::start_logging_to(writer, "up", 113);
    stand.until_connected();
    calls_go_through(&stand, 1);
    stand.until_nothing_is_left();
    assert!(lost(&stand).iter().all(|lost| *lost > 0.0), "they are counted");
    assert_eq!(stand.end(Signal::SIGTERM), Some(0));
}
