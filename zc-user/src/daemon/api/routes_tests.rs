use std::{sync::Arc, time::Instant};

use http_body_util::BodyExt as _;
use jiff::Timestamp;
use serde_json::Value;

use super::*;
use crate::{
    daemon::{
        archive::ArchiveState,
        handle::{Health, HealthStatus, Look, Request},
    },
    metrics::{Caps, State, Totals},
    model::{
        Samples, account, fixture,
        report::{SelfCost, Tool},
        samples::ProcessSample,
    },
};

const ROOT: Peer = Peer::User { uid: 0, may_change: true };
const MEMBER: Peer = Peer::User { uid: 1000, may_change: false };

fn report() -> crate::model::Report {
    let process = |pid, comm: &str| ProcessSample {
        pid,
        comm: comm.to_owned(),
        start_ns: 1,
        ..ProcessSample::default()
    };
    let samples = Samples { processes: vec![process(7, "cat"), process(8, "dog")], ..fixture::samples() };
    account(&samples, Tool { version: "1".to_owned(), commit: None })
}

fn health() -> Health {
    Health {
        status: HealthStatus::Degraded,
        problems: vec!["there is no room for process 7".to_owned()],
        version: "1".to_owned(),
        commit: None,
        pid: 1,
        start: Timestamp::UNIX_EPOCH,
        uptime_seconds: 1.0,
        last_look: None,
        looks: 1,
        last_look_seconds: None,
        processes_alive: 1,
        processes_ended: 0,
        hooks_attached: 1,
        hooks_unavailable: Vec::new(),
        lost: 0,
        history: Some(ArchiveState::default()),
        self_cost: SelfCost::default(),
    }
}

/// The answer to one request, by a daemon that knows one report.
fn ask(peer: Peer, method: Method, uri: &str, body: &'static str) -> (StatusCode, String) {
    let (path, query) =
        uri.split_once('?').map_or((uri, None), |(path, query)| (path, Some(query.to_owned())));
    let accept = String::new();
    let asked =
        Asked { method, accept, path: path.to_owned(), query, body: Bytes::from_static(body.as_bytes()) };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let (handle, mut requests) = Handle::new(None);
        let daemon = async {
            let look = Arc::new(Look { report: report(), taken: Timestamp::UNIX_EPOCH, at: Instant::now() });
            while let Some(request) = requests.recv().await {
                match request {
                    Request::Look(_, reply) => drop(reply.send(Ok(Arc::clone(&look)))),
                    Request::Metrics(reply) => {
                        drop(reply.send(Ok(Totals::new(Caps::default()).expose(&State::of(&look.report)))));
                    }
                    Request::Health(reply) => drop(reply.send(Ok(health()))),
                    Request::Selection(reply) => drop(reply.send(Ok(Selection::default()))),
                    Request::Select(selection, reply) => {
                        let result = selection.matcher().map(|_| selection).map_err(AskError::from);
                        drop(reply.send(result));
                    }
                }
            }
        };
        let client = async {
            let response = answer(&handle, peer, &asked).await;
            drop(handle);
            let status = response.status();
            let body = response.into_body().collect().await.expect("a body").to_bytes();
            (status, String::from_utf8(body.to_vec()).expect("UTF-8"))
        };
        tokio::join!(client, daemon).0
    })
}

fn get(uri: &str) -> Value {
    let (status, body) = ask(MEMBER, Method::GET, uri, "");
    assert_eq!(status, StatusCode::OK, "{uri}: {body}");
    serde_json::from_str(&body).expect("JSON")
}

#[test]
fn reports_are_given_whole_or_in_part() {
    assert_eq!(get("/v1/report")["schema"], "zc.report/1");
    assert_eq!(get("/v1/report")["processes"].as_array().expect("a list").len(), 2);
    let part = get("/v1/report?comm=dog");
    assert_eq!(part["processes"].as_array().expect("a list").len(), 1);
    assert_eq!(part["processes"][0]["pid"], 8);
    assert_eq!(get("/v1/top?limit=1")["omitted"]["processes"], 1);
    assert!(get("/v1/flows")["flows"].as_array().expect("a list").is_empty());
    assert!(get("/v1/hooks")["hooks"].is_array());
    let (status, table) = ask(MEMBER, Method::GET, "/v1/report?format=table", "");
    assert!(status == StatusCode::OK && table.contains("cat"), "{table}");
}

#[test]
fn what_is_asked_wrongly_is_said() {
    for (method, uri, body, expected) in [
        (Method::GET, "/", "", StatusCode::NOT_FOUND),
        (Method::GET, "/v1/report?pid=x", "", StatusCode::BAD_REQUEST),
        (Method::GET, "/v1/report?what=x", "", StatusCode::BAD_REQUEST),
        (Method::POST, "/v1/report", "", StatusCode::METHOD_NOT_ALLOWED),
        (Method::DELETE, "/v1/selection", "", StatusCode::METHOD_NOT_ALLOWED),
        (Method::PUT, "/v1/selection", "no JSON", StatusCode::BAD_REQUEST),
        (Method::PUT, "/v1/selection", r#"{"comm": ["x"]}"#, StatusCode::BAD_REQUEST),
        (Method::PUT, "/v1/selection", r#"{"cgroups": ["x"]}"#, StatusCode::BAD_REQUEST),
    ] {
        let (status, said) = ask(ROOT, method.clone(), uri, body);
        assert_eq!(status, expected, "{method} {uri} {body}: {said}");
        let said: Value = serde_json::from_str(&said).expect("JSON");
        assert!(said["error"].as_str().is_some_and(|error| !error.is_empty()));
    }
}

#[test]
fn only_root_and_the_owner_choose() {
    let choice = r#"{"comms": ["nginx"]}"#;
    assert_eq!(ask(MEMBER, Method::PUT, "/v1/selection", choice).0, StatusCode::FORBIDDEN);
    let (status, said) = ask(ROOT, Method::PUT, "/v1/selection", choice);
    assert_eq!(status, StatusCode::OK);
    let said: Selection = serde_json::from_str(&said).expect("a choice");
    assert_eq!(said.comms, ["nginx".to_owned()].into());
    assert_eq!(get("/v1/selection")["all"], false);
}

#[test]
fn loopback_says_nothing_of_processes() {
    for path in ["/v1/report", "/v1/top", "/v1/flows", "/v1/selection", "/v1/hooks"] {
        assert_eq!(ask(Peer::Anybody, Method::GET, path, "").0, StatusCode::NOT_FOUND, "{path}");
    }
    let (status, health) = ask(Peer::Anybody, Method::GET, "/v1/health", "");
    let health: Value = serde_json::from_str(&health).expect("JSON");
    assert_eq!((status, &health["status"]), (StatusCode::OK, &"degraded".into()));
    assert_eq!((&health["problems"], &health["history"]), (&Value::Array(Vec::new()), &Value::Null));
    assert!(get("/v1/health")["problems"][0].as_str().is_some_and(|problem| problem.contains("process 7")));
    for path in ["/v1/openapi.json", "/metrics"] {
        assert_eq!(ask(Peer::Anybody, Method::GET, path, "").0, StatusCode::OK);
    }
}

#[test]
fn the_description_names_every_path() {
    let described: Value = serde_json::from_str(super::super::OPENAPI).expect("JSON");
    let paths: Vec<_> = described["paths"].as_object().expect("paths").keys().cloned().collect();
    let served = [
        "/metrics",
        "/v1/flows",
        "/v1/health",
        "/v1/hooks",
        "/v1/openapi.json",
        "/v1/report",
        "/v1/selection",
        "/v1/top",
    ];
    assert_eq!(paths, served);
    for path in paths {
        assert_ne!(ask(MEMBER, Method::GET, &path, "").0, StatusCode::NOT_FOUND, "{path}");
    }
}
