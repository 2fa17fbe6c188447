//! The read-only HTTP server on loopback: `/metrics` and `/healthz`.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::limits;
use crate::metrics::Scrape;
use crate::shard::{Letter, Mailbox, Snapshot};

/// A shard that takes longer than this to answer is not well.
const PATIENCE: Duration = Duration::from_secs(2);
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the server tells about.
pub(crate) struct Admin {
    pub(crate) datapath: &'static str,
    pub(crate) capacity: u32,
    pub(crate) shards: Vec<Arc<Mailbox>>,
}

/// Serves for ever.
///
/// # Errors
/// The listener's.
pub(crate) async fn serve(listener: TcpListener, admin: Admin) -> std::io::Result<()> {
    let app = Router::new().route("/metrics", get(metrics)).route("/healthz", get(health)).with_state(Arc::new(admin));
    axum::serve(listener, app).await
}

async fn metrics(State(admin): State<Arc<Admin>>) -> Response {
    let shards = match admin.snapshots().await {
        Ok(shards) => shards,
        Err(unwell) => return unwell.into_response(),
    };
    let descriptors = (open_descriptors(), limits::open_files());
    let scrape = Scrape { datapath: admin.datapath, capacity: admin.capacity, descriptors, shards };
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
struct Unwell(usize);

impl IntoResponse for Unwell {
    fn into_response(self) -> Response {
        (StatusCode::SERVICE_UNAVAILABLE, format!("shard {} does not answer\n", self.0)).into_response()
    }
}

impl Admin {
    async fn snapshots(&self) -> Result<Vec<Snapshot>, Unwell> {
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
        Ok(snapshots)
    }
}

fn open_descriptors() -> u64 {
    std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64)
}
