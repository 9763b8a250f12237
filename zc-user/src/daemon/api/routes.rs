//! From a request to its answer.

use std::time::Duration;

use bytes::Bytes;
use hyper::{
    Method, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
};
use serde::Serialize;

use super::{past, query::Query};
use crate::{
    daemon::{
        handle::{AskError, Handle},
        select::Selection,
    },
    export::{self, Format},
    metrics::negotiate,
    model::report::{Flow, Hook, Window},
};

/// The body of an answer.
pub(super) type Body = http_body_util::Full<Bytes>;

/// Looks that are not older than this serve several clients.
const SHARED: Duration = Duration::from_secs(1);
/// Processes of `/v1/top`, and flows of `/v1/flows`, when nobody says how many.
const TOP: usize = 20;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// Somebody on the Unix socket who runs as this user.
    User {
        /// The user.
        uid: u32,
        /// Whether it is root or who the daemon runs as.
        may_change: bool,
    },
    /// Anybody on this machine.
    Anybody,
}

/// What a request says.
#[derive(Debug)]
pub(super) struct Asked {
    /// Its method.
    pub(super) method: Method,
    /// Forms of metrics that it takes.
    pub(super) accept: String,
    /// Its path.
    pub(super) path: String,
    /// What is behind the question mark.
    pub(super) query: Option<String>,
    /// Its body.
    pub(super) body: Bytes,
}

/// Why there is no answer, for programs and for people.
#[derive(Debug, Serialize)]
struct Refusal<'a> {
    error: &'a str,
}

#[derive(Serialize)]
struct FlowsAnswer<'a> {
    window: &'a Window,
    flows: &'a [Flow],
    omitted: usize,
}

#[derive(Serialize)]
struct HooksAnswer<'a> {
    hooks: &'a [Hook],
}

const JSON: &str = "application/json";

/// Answers a request.
pub(super) async fn answer(handle: &Handle, peer: Peer, asked: &Asked) -> Response<Body> {
    let is_read = matches!(asked.method, Method::GET | Method::HEAD);
    let is_public = matches!(asked.path.as_str(), "/metrics" | "/v1/health" | "/v1/openapi.json");
    if peer == Peer::Anybody && !is_public {
        return refuse(StatusCode::NOT_FOUND, "there is nothing here; more is on the daemon's Unix socket");
    }
    let answer = match asked.path.as_str() {
        "/v1/health" if is_read => health(handle, peer).await,
        "/metrics" if is_read => metrics(handle, asked).await,
        "/v1/openapi.json" if is_read => Ok(with(JSON, super::OPENAPI.into())),
        "/v1/report" if is_read => report(handle, asked).await,
        "/v1/top" if is_read => top(handle, asked).await,
        "/v1/flows" if is_read => flows(handle, asked).await,
        "/v1/hooks" if is_read => hooks(handle, asked).await,
        "/v1/selection" if is_read => {
            handle.selection().await.map_err(not_now).and_then(|selection| json(&selection))
        }
        "/v1/selection" if asked.method == Method::PUT => select(handle, peer, asked).await,
        "/v1/selection" => Err(not_allowed("GET, HEAD, PUT")),
        "/metrics" | "/v1/health" | "/v1/openapi.json" | "/v1/report" | "/v1/top" | "/v1/flows"
        | "/v1/hooks" => Err(not_allowed("GET, HEAD")),
        _ => Err(Refused::new(
            StatusCode::NOT_FOUND,
            "there is nothing here; /v1/openapi.json says what there is",
        )),
    };
    answer.unwrap_or_else(|Refused { status, error, allow }| {
        let mut response = refuse(status, &error);
        if let Some(methods) = allow {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
        }
        response
    })
}

pub(super) type Answer = Result<Response<Body>, Refused>;

/// What is said when there is no answer.
pub(super) struct Refused {
    status: StatusCode,
    error: String,
    /// Methods that would have been answered.
    allow: Option<&'static str>,
}

impl Refused {
    pub(super) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, error: error.into(), allow: None }
    }

    pub(super) fn internal(error: &impl ToString) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}

/// An answer with this content.
fn with(content_type: &'static str, bytes: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::new(bytes));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

pub(super) fn json(value: &impl Serialize) -> Answer {
    serde_json::to_vec(value).map(|bytes| with(JSON, bytes.into())).map_err(|error| Refused::internal(&error))
}

/// An answer that says why there is none.
pub(super) fn refuse(status: StatusCode, error: &str) -> Response<Body> {
    let bytes = serde_json::to_vec(&Refusal { error }).unwrap_or_default();
    let mut response = with(JSON, bytes.into());
    *response.status_mut() = status;
    response
}

fn not_allowed(methods: &'static str) -> Refused {
    let error = "this cannot be done here; `Allow` says what can";
    Refused { allow: Some(methods), ..Refused::new(StatusCode::METHOD_NOT_ALLOWED, error) }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn not_now(error: AskError) -> Refused {
    let status = match error {
        AskError::Select(_) => StatusCode::BAD_REQUEST,
        AskError::Ending | AskError::Look(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    Refused::new(status, error.to_string())
}

fn query(asked: &Asked) -> Result<Query, Refused> {
    Query::parse(asked.query.as_deref()).map_err(|error| Refused::new(StatusCode::BAD_REQUEST, error))
}

/// What is wrong is in the answer; that there is one says that the daemon runs.
async fn health(handle: &Handle, peer: Peer) -> Answer {
    let mut health = handle.health().await.map_err(not_now)?;
    if peer == Peer::Anybody {
        // They may name processes and files.
        health.problems.clear();
        health.history = None;
    }
    json(&health)
}

async fn metrics(handle: &Handle, asked: &Asked) -> Answer {
    let exposition = handle.metrics().await.map_err(not_now)?;
    let form = negotiate(&asked.accept);
    Ok(with(form.content_type(), exposition.to_text(form).into()))
}

async fn report(handle: &Handle, asked: &Asked) -> Answer {
    let query = query(asked)?;
    if query.since.is_some() || query.until.is_some() {
        return past::report(handle, &query).await;
    }
    let look = handle.look(query.age.unwrap_or(SHARED)).await.map_err(not_now)?;
    // A table is the default of the command, not of programs.
    let format =
        if query.format == Format::Table && !asked_for_a_table(asked) { Format::Json } else { query.format };
    let content_type = match format {
        Format::Json => JSON,
        Format::Csv => "text/csv; charset=utf-8",
        Format::Table => "text/plain; charset=utf-8",
    };
    let mut bytes = Vec::new();
    export::write(&query.select(&look.report), format, &query.options(), &mut bytes)
        .map_err(|error| Refused::internal(&error))?;
    Ok(with(content_type, bytes.into()))
}

fn asked_for_a_table(asked: &Asked) -> bool {
    asked.query.as_deref().is_some_and(|query| query.split('&').any(|pair| pair == "format=table"))
}

/// The report of the first processes alone, without flows.
async fn top(handle: &Handle, asked: &Asked) -> Answer {
    let query = query(asked)?;
    let look = handle.look(query.age.unwrap_or(SHARED)).await.map_err(not_now)?;
    let mut report = query.select(&look.report);
    report.flows.clear();
    let options = export::Options { limit: Some(query.limit.unwrap_or(TOP)), ..query.options() };
    let bytes = export::json::to_vec(&report, &options).map_err(|error| Refused::internal(&error))?;
    Ok(with(JSON, bytes.into()))
}

async fn flows(handle: &Handle, asked: &Asked) -> Answer {
    let query = query(asked)?;
    let look = handle.look(query.age.unwrap_or(SHARED)).await.map_err(not_now)?;
    let report = query.select(&look.report);
    let shown = report.flows.len().min(query.limit.unwrap_or(TOP));
    json(&FlowsAnswer {
        window: &report.window,
        flows: &report.flows[..shown],
        omitted: report.flows.len() - shown,
    })
}

async fn hooks(handle: &Handle, asked: &Asked) -> Answer {
    let query = query(asked)?;
    // They do not change while the daemon runs.
    let look = handle.look(query.age.unwrap_or(Duration::MAX)).await.map_err(not_now)?;
    json(&HooksAnswer { hooks: &look.report.hooks })
}

async fn select(handle: &Handle, peer: Peer, asked: &Asked) -> Answer {
    if !matches!(peer, Peer::User { may_change: true, .. }) {
        return Err(Refused::new(
            StatusCode::FORBIDDEN,
            "only root, and the user that the daemon runs as, may choose what is accounted for",
        ));
    }
    let selection: Selection = serde_json::from_slice(&asked.body).map_err(|error| {
        Refused::new(StatusCode::BAD_REQUEST, format!("not a choice of processes: {error}"))
    })?;
    json(&handle.select(selection).await.map_err(not_now)?)
}

#[cfg(test)]
#[path = "routes_tests.rs"]
mod tests;
