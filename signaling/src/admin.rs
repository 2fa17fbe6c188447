//! HTTP on loopback: `/metrics` and `/healthz`, and the interface for operators to who shows its token.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::error;

use moorline_b2bua::Concurrency;

use crate::LostLines;
use crate::cdr::RecordFigures;
use crate::clock::now_ns;
use crate::event_loop::Question;
use crate::limits::Limits;
use crate::metrics::{self, Page};
use crate::reload::Reloads;
use crate::transport::streams::StreamCounts;

/// The event loop answers between two turns; one that does not is stuck.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where the figures are.
#[derive(Clone)]
pub(crate) struct Sources {
    /// Each worker's event loop.
    pub(crate) workers: Vec<mpsc::Sender<Question>>,
    /// The connections' thread.
    pub(crate) streams: Arc<StreamCounts>,
    /// Calls in all workers.
    pub(crate) calls: Arc<Concurrency>,
    /// What becomes of their records, where they are kept.
    pub(crate) records: Option<RecordFigures>,
    /// What trunks are limited to.
    pub(crate) limits: Arc<Limits>,
    /// What became of reloads.
    pub(crate) reloads: Arc<Reloads>,
    /// What was lost of the log.
    pub(crate) lost_lines: LostLines,
}

/// Serves until the runtime ends.
pub(crate) async fn serve(listener: TcpListener, sources: Sources, operators: Router) {
    let routes = Router::new().route("/metrics", get(metrics_page)).route("/healthz", get(health));
    if let Err(e) = axum::serve(listener, routes.with_state(sources).merge(operators)).await {
        error!("admin HTTP stopped: {e}");
    }
}

async fn metrics_page(State(sources): State<Sources>) -> Response {
    let Some(page) = ask(&sources).await else {
        return stuck();
    };
    match metrics::text(page) {
        Ok(page) => ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], page)
            .into_response(),
        Err(e) => (StatusCode::INTERNAL_SERVER_ERROR, format!("metrics: {e}\n")).into_response(),
    }
}

async fn health(State(sources): State<Sources>) -> Response {
    match ask(&sources).await {
        None => stuck(),
        Some(page) if page.sum.media_connected => "ok\n".into_response(),
        Some(_) => {
            let text = "no connection to the media process: calls are refused\n";
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
    }
}

fn stuck() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "an event loop does not answer\n").into_response()
}

pub(crate) async fn ask(sources: &Sources) -> Option<Page> {
    let answer = async {
        let mut sum: Option<metrics::Snapshot> = None;
        for worker in &sources.workers {
            let (scrape, snapshot) = oneshot::channel();
            worker.send(Question::Snapshot(scrape)).await.ok()?;
            let snapshot = snapshot.await.ok()?;
            match &mut sum {
                Some(sum) => sum.merge(&snapshot),
                None => sum = Some(snapshot),
            }
        }
        sum
    };
    let sum = timeout(PATIENCE, answer).await.ok().flatten()?;
    let (streams, calls) = (Arc::clone(&sources.streams), Arc::clone(&sources.calls));
    let records = sources.records.as_ref().map(RecordFigures::now);
    let (limiter, unwritten) = (Arc::clone(&sources.limits.limiter), sources.limits.is_failing());
    let (workers, reloads, now_ns) = (sources.workers.len(), Arc::clone(&sources.reloads), now_ns());
    let lost_lines = (sources.lost_lines)();
    Some(Page { sum, workers, streams, calls, records, limiter, unwritten, reloads, lost_lines, now_ns })
}
