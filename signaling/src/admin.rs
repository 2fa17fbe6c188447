//! Read-only HTTP on loopback: `/metrics` and `/healthz`.

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

use crate::event_loop::Scrape;
use crate::metrics::{self, Snapshot};

/// The event loop answers between two turns; one that does not is stuck.
const PATIENCE: Duration = Duration::from_secs(2);

/// Serves until the runtime ends.
pub(crate) async fn serve(listener: TcpListener, event_loop: mpsc::Sender<Scrape>) {
    let routes = Router::new().route("/metrics", get(metrics_page)).route("/healthz", get(health));
    if let Err(e) = axum::serve(listener, routes.with_state(event_loop)).await {
        error!("admin HTTP stopped: {e}");
    }
}

async fn metrics_page(State(event_loop): State<mpsc::Sender<Scrape>>) -> Response {
    let Some(snapshot) = ask(&event_loop).await else {
        return stuck();
    };
    match metrics::text(snapshot) {
        Ok(page) => ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], page)
            .into_response(),
        Err(e) => (StatusCode::INTERNAL_SERVER_ERROR, format!("metrics: {e}\n")).into_response(),
    }
}

async fn health(State(event_loop): State<mpsc::Sender<Scrape>>) -> Response {
    match ask(&event_loop).await {
        None => stuck(),
        Some(snapshot) if snapshot.media_connected => "ok\n".into_response(),
        Some(_) => {
            let text = "no connection to the media process: calls are refused\n";
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
    }
}

fn stuck() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "the event loop does not answer\n").into_response()
}

async fn ask(event_loop: &mpsc::Sender<Scrape>) -> Option<Snapshot> {
    let answer = async {
        let (scrape, snapshot) = oneshot::channel();
        event_loop.send(scrape).await.ok()?;
        snapshot.await.ok()
    };
    timeout(PATIENCE, answer).await.ok().flatten()
}
