//! The read-only HTTP server on loopback: `/metrics` and `/healthz`.

mod bounded;

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::{OnceCell, oneshot};
use tokio::time::timeout;

use self::bounded::Bounded;

use crate::bypass::Watch;
use crate::metrics::Scrape;
use crate::routes::HopFigures;
use crate::shard::{Letter, Mailbox, Snapshot};
use crate::{LostLines, egress, limits};

/// A shard that takes longer than this to answer is not well.
const PATIENCE: Duration = Duration::from_secs(2);
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the server tells about.
pub(crate) struct Admin {
    pub(crate) datapath: &'static str,
    pub(crate) capacity: u32,
    pub(crate) shards: Vec<Arc<Mailbox>>,
    /// Where packets go past the kernel's network stack.
    pub(crate) bypass: Option<Watch>,
    /// Where they go past its routing.
    pub(crate) direct: Option<egress::Watch>,
    /// What was lost of the log.
    pub(crate) lost_lines: LostLines,
    pub(crate) flight: Mutex<Weak<Flight>>,
}

/// A scrape under way: whoever asks meanwhile gets its answer too.
pub(crate) type Flight = OnceCell<Result<Arc<[Snapshot]>, Unwell>>;

/// Serves for ever.
///
/// # Errors
/// The listener's.
pub(crate) async fn serve(listener: TcpListener, admin: Admin) -> std::io::Result<()> {
    let app = Router::new().route("/metrics", get(metrics)).route("/healthz", get(health));
    let app = app.layer(map_response(say_close)).with_state(Arc::new(admin));
    axum::serve(Bounded::new(listener), app).await
}

/// One request for each connection: it is closed soon in any case.
async fn say_close(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

async fn metrics(State(admin): State<Arc<Admin>>) -> Response {
    let shards = match admin.snapshots().await {
        Ok(shards) => shards,
        Err(unwell) => return unwell.into_response(),
    };
    let descriptors = (open_descriptors(), limits::open_files());
    let (driver, hops) = (admin.bypass.as_ref().and_then(Watch::counts), admin.hops());
    let lost_lines = (admin.lost_lines)();
    let scrape =
        Scrape { datapath: admin.datapath, capacity: admin.capacity, descriptors, shards, driver, hops, lost_lines };
    match scrape.text() {
        Ok(text) => ([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn health(State(admin): State<Arc<Admin>>) -> Response {
    match admin.snapshots().await {
        Ok(_) => "ok\n".into_response(),
        Err(unwell) => unwell.into_response(),
    }
}

/// A shard that does not answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unwell(usize);

impl IntoResponse for Unwell {
    fn into_response(self) -> Response {
        (StatusCode::SERVICE_UNAVAILABLE, format!("shard {} does not answer\n", self.0)).into_response()
    }
}

impl Admin {
    /// What is known of next hops, by whoever uses them.
    fn hops(&self) -> Option<HopFigures> {
        let all = [self.bypass.as_ref().map(Watch::hops), self.direct.as_ref().map(egress::Watch::hops)];
        all.into_iter().flatten().reduce(|all, more| all + more)
    }

    /// What the shards say now, by the scrape that is under way if there is one.
    async fn snapshots(&self) -> Result<Arc<[Snapshot]>, Unwell> {
        let flight = {
            let mut current = self.flight.lock().unwrap_or_else(PoisonError::into_inner);
            current.upgrade().unwrap_or_else(|| {
                let flight = Arc::new(Flight::new());
                *current = Arc::downgrade(&flight);
                flight
            })
        };
        flight.get_or_init(|| self.scrape()).await.clone()
    }

    async fn scrape(&self) -> Result<Arc<[Snapshot]>, Unwell> {
        let mut answers = Vec::with_capacity(self.shards.len());
        for (index, shard) in self.shards.iter().enumerate() {
            let (answer, receiver) = oneshot::channel();
            shard.post(Letter::Scrape(answer)).map_err(|_| Unwell(index))?;
            answers.push(receiver);
        }
        let mut snapshots = Vec::with_capacity(answers.len());
        for (index, answer) in answers.into_iter().enumerate() {
            match timeout(PATIENCE, answer).await {
                Ok(Ok(snapshot)) => snapshots.push(*snapshot),
                Ok(Err(_)) | Err(_) => return Err(Unwell(index)),
            }
        }
        Ok(snapshots.into())
    }
}

fn open_descriptors() -> u64 {
    std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_who_ask_meanwhile_share_one_scrape() {
        let shard = Arc::new(Mailbox::new().unwrap());
        let shards = vec![Arc::clone(&shard)];
        let admin = Admin {
            datapath: "",
            capacity: 1,
            shards,
            bypass: None,
            direct: None,
            lost_lines: Arc::new(|| 0),
            flight: Mutex::default(),
        };
        for _ in 0..2 {
            let answer = async {
                let Some(Letter::Scrape(answer)) = shard.read() else { panic!("a scrape was posted") };
                assert!(shard.read().is_none(), "and no other");
                drop(answer);
            };
            let (first, second, ()) = tokio::join!(biased; admin.snapshots(), admin.snapshots(), answer);
            assert!(first.is_err() && second.is_err());
        }
    }
}
