//! The media process on loopback: a real control socket, real datagrams, both datapaths.
#![cfg(test)]

mod announcements;
mod bridging;
mod calls;
mod clients;
mod figures;
mod ports;
mod shared;
mod stage;

/// Runs each of the named functions on both datapaths.
macro_rules! on_both_datapaths {
    ($($name:ident),+ $(,)?) => {
        mod on_io_uring {
            $(#[tokio::test]
            async fn $name() {
                super::$name(moorline_media::DatapathChoice::IoUring).await;
            })+
        }
        mod on_epoll {
            $(#[tokio::test]
            async fn $name() {
                super::$name(moorline_media::DatapathChoice::Epoll).await;
            })+
        }
    };
}
pub(crate) use on_both_datapaths;
