//! Real connections on loopback: who makes them, who may, and who shares them.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::{PATIENCE, Setting, Stage, message, on_the_thread};
use crate::config::StreamsConfig;

#[tokio::test]
async fn what_a_peer_opened_carries_what_is_sent_to_it() {
    for ip in ["127.0.0.1", "::1"] {
        on_the_thread(async {
            let mut stage = Stage::new(Setting { ip, ..Setting::default() });
            stage.start();
            let mut peer = stage.connect().await;
            let remote = peer.local_addr().unwrap();
            peer.write_all(&message(1)).await.unwrap();
            stage.receives(remote, &message(1)).await;
            for number in [2, 3] {
                stage.transmit(remote, &message(number));
                let mut got = vec![0; message(number).len()];
                timeout(PATIENCE, peer.read_exact(&mut got)).await.unwrap().unwrap();
                assert_eq!(got, message(number));
            }
            stage.until("opened", |counts| &counts.connected, 0).await;
            stage.until("open", |counts| &counts.open, 1).await;
            drop(peer);
            stage.learns_of_break(remote).await;
            stage.until("open", |counts| &counts.open, 0).await;
        })
        .await;
    }
}

#[tokio::test]
async fn one_connection_carries_all_to_a_target_and_what_it_answers() {
    on_the_thread(async {
        let mut stage = Stage::new(Setting::default());
        stage.start();
        let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let remote = target.local_addr().unwrap();
        for number in 1..=3 {
            stage.transmit(remote, &message(number));
        }
        let (mut peer, from) = timeout(PATIENCE, target.accept()).await.unwrap().unwrap();
        assert_eq!(from.ip(), stage.address.ip(), "from the listener's address");
        let expected = [message(1), message(2), message(3)].concat();
        let mut got = vec![0; expected.len()];
        timeout(PATIENCE, peer.read_exact(&mut got)).await.unwrap().unwrap();
        assert_eq!(got, expected);
        peer.write_all(&message(4)).await.unwrap();
        stage.receives(remote, &message(4)).await;
        stage.until("opened", |counts| &counts.connected, 1).await;

        // It breaks; the next message opens another one.
        drop(peer);
        stage.learns_of_break(remote).await;
        stage.transmit(remote, &message(5));
        let (mut peer, _) = timeout(PATIENCE, target.accept()).await.unwrap().unwrap();
        let mut got = vec![0; message(5).len()];
        timeout(PATIENCE, peer.read_exact(&mut got)).await.unwrap().unwrap();
        stage.until("opened", |counts| &counts.connected, 2).await;
    })
    .await;
}

#[tokio::test]
async fn a_target_that_does_not_listen_is_told_as_broken() {
    on_the_thread(async {
        let mut stage = Stage::new(Setting::default());
        stage.start();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        stage.transmit(free, &message(1));
        stage.learns_of_break(free).await;
        stage.until("failed", |counts| &counts.failed, 1).await;
    })
    .await;
}

#[tokio::test]
async fn a_stranger_is_turned_away_without_a_byte() {
    on_the_thread(async {
        let mut stage = Stage::new(Setting { sources: "127.77.0.0/16", ..Setting::default() });
        stage.start();
        let mut stranger = stage.connect().await;
        let mut got = Vec::new();
        // Closed or reset, as it comes.
        let _ending = timeout(PATIENCE, stranger.read_to_end(&mut got)).await.expect("it is closed");
        assert!(got.is_empty());
        stage.until("refused", |counts| &counts.refused, 1).await;
        stage.until("accepted", |counts| &counts.accepted, 0).await;
    })
    .await;
}

#[tokio::test]
async fn one_source_has_no_more_connections_than_it_may() {
    on_the_thread(async {
        let bounds = StreamsConfig { connections_per_source: 2, ..StreamsConfig::default() };
        let mut stage = Stage::new(Setting { bounds, ..Setting::default() });
        stage.start();
        let first = stage.connect().await;
        let _second = stage.connect().await;
        stage.until("open", |counts| &counts.open, 2).await;
        let mut third = stage.connect().await;
        let _ending = timeout(PATIENCE, third.read(&mut [0; 1])).await.expect("it is closed");
        stage.until("refused", |counts| &counts.refused, 1).await;
        drop(first);
        stage.until("open", |counts| &counts.open, 1).await;
        let _fourth = stage.connect().await;
        stage.until("open", |counts| &counts.open, 2).await;
    })
    .await;
}
