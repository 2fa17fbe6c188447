//! One connection over memory, in virtual time: what it may hold, and for how long.

use std::future::pending;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use moorline_sip::transaction::Flow;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, sleep, timeout};

use super::super::connection::{Connection, End, ended, serve};
use super::{Setting, Stage, message, on_the_thread};
use crate::config::StreamsConfig;
use crate::mail::Mail;

/// A connection whose far end is in the test's hand.
struct Line {
    far: DuplexStream,
    connection: Rc<Connection>,
    served: JoinHandle<Result<(), End>>,
}

fn line(stage: &Stage, flow: Flow) -> Line {
    let (near, far) = duplex(4096);
    let (connection, outgoing) = Connection::new(flow);
    let (streams, served_by) = (Rc::clone(&stage.streams), Rc::clone(&connection));
    let served = spawn_local(async move { serve(&streams, &served_by, outgoing, near, pending()).await });
    Line { far, connection, served }
}

fn stage(inbox: usize) -> (Stage, Flow) {
    let stage = Stage::new(Setting { inbox, ..Setting::default() });
    let flow = stage.flow("127.0.0.2:5060".parse().unwrap());
    (stage, flow)
}

#[tokio::test(start_paused = true)]
async fn messages_are_found_wherever_the_stream_is_split() {
    on_the_thread(async {
        let (mut stage, flow) = stage(1000);
        let mut line = line(&stage, flow);
        let (first, second) = (message(1), message(33));
        let glued = [&b"\r\n"[..], &first, &second, b"\r\n\r\n", &first].concat();
        for split in 1..glued.len() {
            for part in [&glued[..split], &glued[split..]] {
                line.far.write_all(part).await.unwrap();
                // In virtual time this lets everything else go first.
                sleep(Duration::from_millis(1)).await;
            }
            for expected in [&first, &second, &first] {
                stage.receives(flow.remote, expected).await;
            }
            let mut pong = [0; 2];
            line.far.read_exact(&mut pong).await.unwrap();
            assert_eq!(&pong, b"\r\n", "split at {split}");
        }
        for byte in &glued {
            line.far.write_all(&[*byte]).await.unwrap();
        }
        for expected in [&first, &second, &first] {
            stage.receives(flow.remote, expected).await;
        }
    })
    .await;
}

/// Keep-alives are answered without a look at who sends how many: they must cost next to nothing.
#[tokio::test(start_paused = true)]
async fn many_keep_alives_at_once_are_answered_once() {
    on_the_thread(async {
        let (mut stage, flow) = stage(1000);
        let mut line = line(&stage, flow);
        for _ in 0..100 {
            line.far.write_all(&b"\r\n\r\n".repeat(1024)).await.unwrap();
        }
        line.far.write_all(&message(1)).await.unwrap();
        stage.receives(flow.remote, &message(1)).await;
        line.connection.push(Arc::from(&b"end"[..]));
        sleep(Duration::from_millis(1)).await;
        let mut answers = [0; 4096];
        let length = line.far.read(&mut answers).await.unwrap();
        let pongs = answers[..length].strip_suffix(b"end").expect("all that was answered");
        assert!((2..=2 * 100).contains(&pongs.len()), "at most one for each read: {}", pongs.len());
        // Nor does it matter that the far end reads none of them.
        for _ in 0..10_000 {
            line.far.write_all(b"\r\n\r\n").await.unwrap();
        }
        sleep(Duration::from_millis(1)).await;
        assert!(!line.served.is_finished());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_closed_in_time_and_not_before() {
    on_the_thread(async {
        let (mut stage, flow) = stage(10);
        let idle = StreamsConfig::default().idle();
        let started = Instant::now();
        let mut line = line(&stage, flow);
        sleep(idle / 2).await;
        line.far.write_all(b"\r\n\r\n").await.unwrap();
        sleep(idle / 2 + idle / 4).await;
        line.connection.push(Arc::from(&b"OPTIONS"[..]));
        let served = line.served.await.unwrap();
        assert!(matches!(served, Err(End::Idle)), "{served:?}");
        assert_eq!(started.elapsed().as_secs(), (idle * 2 + idle / 4).as_secs(), "counted from what was sent last");
        ended(&stage.streams, &line.connection, served).await;
        assert!(stage.mail.try_recv().is_err(), "no worker has used it");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_sends_a_message_byte_by_byte_is_cut() {
    on_the_thread(async {
        let (stage, flow) = stage(10);
        let mut line = line(&stage, flow);
        let started = Instant::now();
        for byte in &message(1) {
            if line.far.write_all(&[*byte]).await.is_err() {
                break;
            }
            sleep(Duration::from_secs(2)).await;
        }
        let served = line.served.await.unwrap();
        assert!(matches!(served, Err(End::Slow)), "{served:?}");
        assert!(started.elapsed() >= StreamsConfig::default().message());
        ended(&stage.streams, &line.connection, served).await;
        stage.until("cut", |counts| &counts.cut, 1).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_read_while_the_worker_has_no_room() {
    on_the_thread(async {
        let (mut stage, flow) = stage(2);
        let mut line = line(&stage, flow);
        let messages: Vec<Vec<u8>> = (0..2000).map(message).collect();
        let all = messages.concat();
        let stuck = timeout(Duration::from_secs(5), line.far.write_all(&all)).await;
        assert!(stuck.is_err(), "the far end is held up");
        drop(stuck);
        drop(line);
        // What was written before is not lost, and comes in order.
        let mut next = 0;
        while let Ok(Some(Mail::Message { bytes, .. })) = timeout(Duration::from_secs(1), stage.mail.recv()).await {
            assert_eq!(bytes[..], messages[next][..]);
            next += 1;
        }
        assert!((3..2000).contains(&next), "{next}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_is_cut_and_the_workers_are_told() {
    on_the_thread(async {
        let (mut stage, flow) = stage(10);
        let line = line(&stage, flow);
        line.connection.used_by(0);
        for _ in 0..40 {
            line.connection.push(Arc::from(vec![b'x'; 32_000]));
        }
        let served = line.served.await.unwrap();
        assert!(matches!(served, Err(End::Overflow)), "{served:?}");
        ended(&stage.streams, &line.connection, served).await;
        stage.learns_of_break(flow.remote).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_no_sip_ends_the_connection_after_what_was() {
    on_the_thread(async {
        let (mut stage, flow) = stage(10);
        let mut line = line(&stage, flow);
        line.far.write_all(&[&message(1)[..], b"\x16\x03\x01\x02\x00"].concat()).await.unwrap();
        stage.receives(flow.remote, &message(1)).await;
        let served = line.served.await.unwrap();
        assert!(matches!(served, Err(End::Framing(_))), "{served:?}");
        ended(&stage.streams, &line.connection, served).await;
        stage.learns_of_break(flow.remote).await;
        let mut rest = Vec::new();
        assert_eq!(line.far.read_to_end(&mut rest).await.unwrap(), 0, "closed without a word");
    })
    .await;
}
