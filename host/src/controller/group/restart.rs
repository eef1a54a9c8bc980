//! Restarts an instance: deletes the Pod of one incarnation, and its StatefulSet starts the next one. Must
//! not delete a Pod that is another incarnation.

use crate::contract::Restart;
use crate::driver::Restarter;
use crate::group::Outcome;
use crate::kubernetes::error::message;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, Client};
use std::sync::Arc;

/// Restarts the instances of one namespace.
pub fn restarter(client: Client, namespace: String) -> Restarter {
    Arc::new(move |Restart { id, uid }| {
        let api: Api<Pod> = Api::namespaced(client.clone(), &namespace);
        Box::pin(async move {
            let preconditions = Some(Preconditions { uid: Some(uid.clone()), resource_version: None });
            outcome(&uid, api.delete(&id, &DeleteParams { preconditions, ..DeleteParams::default() }).await)
        })
    })
}

fn outcome<T>(uid: &str, result: kube::Result<T>) -> Outcome {
    let done = |note: String| Outcome::Done { note, pause_us: None };
    match result {
        Ok(_) => done(format!("Pod with uid {uid} deleted")),
        Err(kube::Error::Api(error)) if matches!(error.code, 404 | 409) => {
            done(format!("the Pod with uid {uid} is gone already"))
        }
        Err(error @ kube::Error::Api(_)) => Outcome::Failed(format!("delete Pod: {}", message(&error))),
        // The API server may have carried it out.
        Err(error) => Outcome::InDoubt(format!("delete Pod: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::{Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};
    use std::convert::Infallible;

    /// Stands in for the API server: answers every request with `status`, and hands on what was asked.
    async fn restart(status: u16, reason: &'static str) -> (Outcome, String, Value) {
        let (asked_in, mut asked) = tokio::sync::mpsc::unbounded_channel();
        let api_server = tower::service_fn(move |request: Request<Body>| {
            let asked = asked_in.clone();
            async move {
                let line = format!("{} {}", request.method(), request.uri().path());
                let body = request.into_body().collect_bytes().await.unwrap();
                asked.send((line, serde_json::from_slice(&body).unwrap())).unwrap();
                let answer = json!({
                    "kind": "Status", "apiVersion": "v1", "metadata": {}, "code": status,
                    "status": if status < 300 { "Success" } else { "Failure" },
                    "reason": reason, "message": reason,
                });
                let response = Response::builder().status(status);
                Ok::<_, Infallible>(response.body(Body::from(answer.to_string().into_bytes())).unwrap())
            }
        });
        let restarter = restarter(Client::new(api_server, "default"), "shop".into());
        let outcome = restarter(Restart { id: "redis-cart-1".into(), uid: "u-1".into() }).await;
        let (line, body) = asked.recv().await.unwrap();
        (outcome, line, body)
    }

    #[tokio::test]
    async fn the_pod_of_that_incarnation_is_deleted_and_no_other() {
        let (outcome, line, body) = restart(200, "").await;
        assert_eq!(line, "DELETE /api/v1/namespaces/shop/pods/redis-cart-1");
        assert_eq!(body["preconditions"]["uid"], "u-1");
        assert!(matches!(outcome, Outcome::Done { .. }), "{outcome:?}");
    }

    #[tokio::test]
    async fn a_pod_that_is_gone_or_replaced_is_restarted_and_a_refusal_is_a_failure() {
        for code in [404, 409] {
            let (outcome, ..) = restart(code, "Conflict").await;
            assert!(matches!(outcome, Outcome::Done { .. }), "{code}: {outcome:?}");
        }
        let (outcome, ..) = restart(403, "Forbidden").await;
        assert!(matches!(&outcome, Outcome::Failed(why) if why.contains("Forbidden")), "{outcome:?}");
    }
}
