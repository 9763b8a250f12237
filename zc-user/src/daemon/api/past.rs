//! What was before, from the history.

use hyper::StatusCode;
use jiff::Timestamp;
use serde::Serialize;
use tokio::task::spawn_blocking;

use super::{
    query::Query,
    routes::{Answer, Refused, json},
};
use crate::{
    daemon::handle::Handle,
    history::{self, Past},
    model::Report,
    render::view,
};

/// A report of a time that has passed.
#[derive(Serialize)]
struct PastReport {
    #[serde(flatten)]
    report: Report,
    history: Extent,
}

/// What of the time that was asked for is in it.
#[derive(Serialize)]
struct Extent {
    covered_seconds: f64,
    gaps: Vec<Span>,
    notices: Vec<String>,
}

#[derive(Serialize)]
struct Span {
    start: Timestamp,
    end: Timestamp,
}

/// The report of the intervals that ended between two times.
pub(super) async fn report(handle: &Handle, query: &Query) -> Answer {
    let not_found = |why: &str| Refused::new(StatusCode::NOT_FOUND, why);
    let dir = handle.history().ok_or_else(|| not_found("no history is kept (`history.enabled`)"))?.to_owned();
    let (since, until) = (query.since.unwrap_or(Timestamp::MIN), query.until.unwrap_or(Timestamp::MAX));
    // Reading takes its time, in which others are answered.
    let read = spawn_blocking(move || {
        let mut reading = history::read(&dir, since, until)?;
        let past = history::report(&mut reading, since, until);
        let notices = reading.notices().iter().map(ToString::to_string).collect();
        Ok::<_, history::HistoryError>((past, notices))
    });
    let read = read.await.map_err(|error| Refused::internal(&error))?;
    let (past, notices) =
        read.map_err(|error| Refused::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    let past = past.ok_or_else(|| not_found("the history has nothing of that time"))?;
    json(&answer(past, notices, query))
}

fn answer(past: Past, notices: Vec<String>, query: &Query) -> PastReport {
    let Past { mut report, covered_seconds, gaps } = past;
    query.keep(&mut report);
    view::sort(&mut report.processes, query.sort);
    if let Some(limit) = query.limit {
        crate::export::json::cut(&mut report, limit);
    }
    let gaps = gaps.into_iter().map(|gap| Span { start: gap.start, end: gap.end }).collect();
    PastReport { report, history: Extent { covered_seconds, gaps, notices } }
}
