//! The HTTP interface for operators, below `/api/v1/`: what the command socket takes, as resources with JSON bodies.
//! `api/openapi.json` describes it, and is served at `/openapi.json`.
//!
//! It is served on the command socket, to those who get through there, and on the admin address to those who show a
//! token: whoever else reaches that, such as a page in a browser on this host, is told nothing.

mod guard;
mod query;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request as HttpRequest, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};

use crate::command::{self, Commands, Fault, Reply, Request};
use crate::config::ListRowConfig;
pub(crate) use guard::Guard;
use query::Query;

/// What the interface is, in the words of OpenAPI 3.1.
pub const OPENAPI: &str = include_str!("api/openapi.json");

/// Below which everything else is.
const ROOT: &str = "/api/v1/";

/// The longest body.
const MAX_BODY: usize = 64 * 1024;

/// What there is, and what can be done with it.
const RESOURCES: [(&str, &str); 12] = [
    ("status", "GET"),
    ("trunks", "GET"),
    ("calls", "GET"),
    ("calls/{call}", "GET, DELETE"),
    ("drain", "GET, PUT"),
    ("limits", "GET"),
    ("limits/{trunk}", "PATCH"),
    ("limits/{trunk}/users/{user}", "PATCH"),
    ("blacklist", "GET, POST, DELETE"),
    ("whitelist", "GET, POST, DELETE"),
    ("reload", "POST"),
    ("rollback", "POST"),
];

/// Serves the interface to those whom the guard lets in.
pub(crate) fn routes(commands: Commands, guard: Guard) -> Router {
    let described = || async { ([(header::CONTENT_TYPE, "application/json")], OPENAPI) };
    Router::new().route("/openapi.json", get(described)).fallback(answer).with_state((commands, guard))
}

async fn answer(State((commands, guard)): State<(Commands, Guard)>, request: HttpRequest) -> Response {
    let (parts, body) = request.into_parts();
    match done(&commands, &guard, &parts.method, &parts.uri, &parts.headers, body).await {
        Ok((status, answer)) => json_response(status, &answer),
        Err(refused) => refused.into_response(),
    }
}

async fn done(
    commands: &Commands,
    guard: &Guard,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: Body,
) -> Result<(StatusCode, Value), Refused> {
    let path = uri.path().strip_prefix(ROOT).ok_or_else(not_there)?;
    guard.judge(headers, method != Method::GET)?;
    let body = to_bytes(body, MAX_BODY)
        .await
        .map_err(|_| Refused::new(StatusCode::PAYLOAD_TOO_LARGE, format!("a body has at most {MAX_BODY} bytes")))?;
    let request = asked(method.as_str(), path, uri.query().unwrap_or_default(), &body)?;
    let reply = commands.carry_out(request).await?;
    Ok((status(&reply), content(&reply)))
}

/// A configuration that is refused is in conflict with what runs, or with itself; the reply says why.
fn status(reply: &Reply) -> StatusCode {
    match reply {
        Reply::Reload(reply) if !reply.refused.is_empty() => StatusCode::CONFLICT,
        _ => StatusCode::OK,
    }
}

/// What a reply holds, without its name.
fn content(reply: &Reply) -> Value {
    // Names, numbers and texts: they can be written.
    match serde_json::to_value(reply).unwrap_or_default() {
        Value::Object(named) => named.into_iter().next().map(|(_, content)| content).unwrap_or_default(),
        other => other,
    }
}

/// What is asked for.
fn asked(method: &str, path: &str, query: &str, body: &[u8]) -> Result<Request, Refused> {
    let mut query = Query::read(query)?;
    let segments: Vec<String> = path.split('/').map(query::decoded).collect::<Result<_, _>>()?;
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let request = match (method, segments.as_slice()) {
        ("GET", ["status"]) => Request::Status,
        ("GET", ["trunks"]) => Request::Trunks { trunk: query.take("trunk") },
        ("GET", ["calls"]) => Request::Calls {
            trunk: query.take("trunk"),
            number: query.take("number"),
            state: query.take("state").map(|state| read(json!(state).to_string())).transpose()?,
            limit: query.number("limit")?,
            after: query.take("after"),
        },
        ("GET", ["calls", call]) => Request::Call { call: (*call).to_owned() },
        ("DELETE", ["calls", call]) => Request::HangUp { call: (*call).to_owned() },
        ("GET", ["drain"]) => Request::Drain { draining: None },
        ("PUT", ["drain"]) => {
            let Wanted { draining } = object(body)?;
            Request::Drain { draining: Some(draining) }
        }
        ("GET", ["limits"]) => Request::LimitsShow { trunk: query.take("trunk") },
        ("PATCH", ["limits", trunk]) => {
            Request::LimitsSet { trunk: (*trunk).to_owned(), user: None, values: object(body)? }
        }
        ("PATCH", ["limits", trunk, "users", user]) => {
            Request::LimitsSet { trunk: (*trunk).to_owned(), user: Some((*user).to_owned()), values: object(body)? }
        }
        ("GET", [list]) if let Some(white) = is_white(list) => {
            Request::ListRows { white, from: query.number("from")?.unwrap_or_default() }
        }
        ("POST", [list]) if let Some(white) = is_white(list) => Request::ListAdd { white, row: object(body)? },
        ("DELETE", [list]) if let Some(white) = is_white(list) => {
            let (caller, called) = (query.take("caller"), query.take("called"));
            let row = ListRowConfig { caller, called, from: query.take("from"), percent: None };
            Request::ListRemove { white, row }
        }
        ("POST", ["reload"]) => Request::Reload { dry_run: tried(body)?.dry_run },
        ("POST", ["rollback"]) => Request::Rollback { dry_run: tried(body)?.dry_run },
        (_, segments) => return Err(not_done(segments)),
    };
    query.end()?;
    Ok(request)
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    draining: bool,
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Tried {
    dry_run: bool,
}

/// Whether a reload or a rollback is only tried; without a body it is not.
fn tried(body: &[u8]) -> Result<Tried, Refused> {
    if body.trim_ascii().is_empty() { Ok(Tried::default()) } else { object(body) }
}

fn is_white(list: &str) -> Option<bool> {
    match list {
        "whitelist" => Some(true),
        "blacklist" => Some(false),
        _ => None,
    }
}

/// A body.
fn object<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    match body.trim_ascii_start().first() {
        Some(b'{') => read(body),
        _ => Err(bad("the body is a JSON object")),
    }
}

fn read<T: serde::de::DeserializeOwned>(text: impl AsRef<[u8]>) -> Result<T, Refused> {
    command::json::read(text.as_ref()).map_err(|fault| bad(format!("not understood: {fault}")))
}

/// There is no such thing, or it cannot be done with it.
fn not_done(segments: &[&str]) -> Refused {
    let fits = |template: &str| {
        let parts: Vec<&str> = template.split('/').collect();
        parts.len() == segments.len()
            && parts.iter().zip(segments).all(|(part, segment)| part.starts_with('{') || part == segment)
    };
    match RESOURCES.iter().find(|(template, _)| fits(template)) {
        Some((_, methods)) => {
            Refused { allow: Some(methods), ..Refused::new(StatusCode::METHOD_NOT_ALLOWED, format!("use {methods}")) }
        }
        None => not_there(),
    }
}

fn not_there() -> Refused {
    Refused::new(StatusCode::NOT_FOUND, "there is no such thing; /openapi.json says what there is")
}

fn bad(problem: impl Into<String>) -> Refused {
    Refused::new(StatusCode::BAD_REQUEST, problem)
}

/// Why a request was not carried out.
#[derive(Debug)]
struct Refused {
    status: StatusCode,
    problem: String,
    /// What could be done instead.
    allow: Option<&'static str>,
}

impl Refused {
    fn new(status: StatusCode, problem: impl Into<String>) -> Refused {
        Refused { status, problem: problem.into(), allow: None }
    }
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Refused {
        let status = match fault {
            Fault::Invalid(_) => StatusCode::BAD_REQUEST,
            Fault::Unknown(_) => StatusCode::NOT_FOUND,
            Fault::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Refused::new(status, fault.to_string())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = json_response(self.status, &json!({ "error": self.problem }));
        let headers = response.headers_mut();
        if let Some(methods) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(methods));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

fn json_response(status: StatusCode, body: &Value) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, format!("{body}\n")).into_response()
}

#[cfg(test)]
mod tests;
