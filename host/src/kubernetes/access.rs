//! Whether the owner of a token may see a group: the API server says so (TokenReview, then
//! SubjectAccessReview). Its answers are kept for seconds, in bounded number; questions are bounded in rate,
//! so that no client can make the operator flood the API server. Tokens are not kept: their hashes are.
//!
//! The right is to *get* `redis/observation` by the name of the Redis, in its namespace. No such subresource
//! is served by the API server: it exists as a right alone, as `pods/exec` does for those who never exec.

use super::error::message;
use crate::report::{Admission, Admit, RateLimit};
use futures_util::future::BoxFuture;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::Client;
use kube::api::{Api, PostParams};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Asks the API server, and remembers its answers for a while.
pub struct Access {
    client: Client,
    known: Mutex<Known>,
}

/// The answers that stand, by the hash of token and group.
struct Known {
    answers: BTreeMap<Key, Answer>,
    questions: RateLimit,
}

type Key = [u8; 32];

struct Answer {
    admission: Admission,
    until: Instant,
}

impl Access {
    /// Nothing is known yet.
    pub fn new(client: Client) -> Self {
        let questions = RateLimit::new(QUESTIONS_PER_SECOND, QUESTIONS_AT_ONCE);
        Self { client, known: Mutex::new(Known { answers: BTreeMap::new(), questions }) }
    }

    async fn review(&self, token: &str, namespace: &str, name: &str) -> Admission {
        let key = key_of(token, namespace, name);
        let now = Instant::now();
        {
            let mut known = self.known();
            if let Some(admission) = known.answer(&key, now) {
                return admission;
            }
            if !known.questions.admits(now) {
                return Admission::Busy;
            }
        }
        match ask(&self.client, token, namespace, name).await {
            Ok(admission) => {
                self.known().keep(key, &admission, now);
                admission
            }
            Err(error) => {
                tracing::warn!(namespace, name, error = message(&error), "access to a group not reviewed");
                Admission::Unavailable(format!(
                    "the operator cannot ask the API server who may see {namespace}/{name}: {}",
                    match &error {
                        kube::Error::Api(status) if status.code == 403 => format!(
                            "{}: grant it ClusterRole redis-operator-reviews of deploy/cluster",
                            status.message
                        ),
                        _ => "try again".to_owned(),
                    }
                ))
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admit for Access {
    fn admit<'a>(&'a self, token: &'a str, namespace: &'a str, name: &'a str) -> BoxFuture<'a, Admission> {
        Box::pin(self.review(token, namespace, name))
    }
}

impl Known {
    /// The answer that stands. None: there is none.
    fn answer(&self, key: &Key, now: Instant) -> Option<Admission> {
        self.answers.get(key).filter(|answer| now < answer.until).map(|answer| answer.admission.clone())
    }

    fn keep(&mut self, key: Key, admission: &Admission, now: Instant) {
        if self.answers.len() >= ANSWERS_MAX {
            self.answers.retain(|_, answer| now < answer.until);
        }
        if self.answers.len() >= ANSWERS_MAX {
            let oldest = self.answers.iter().min_by_key(|(_, answer)| answer.until).map(|(key, _)| *key);
            oldest.into_iter().for_each(|key| drop(self.answers.remove(&key)));
        }
        let lasts = match admission {
            Admission::Granted => GRANTED_FOR,
            Admission::Forbidden(_) | Admission::Unauthenticated(_) => REFUSED_FOR,
            // No answer: the next request asks again.
            Admission::Unavailable(_) | Admission::Busy => return,
        };
        self.answers.insert(key, Answer { admission: admission.clone(), until: now + lasts });
    }
}

/// Who the token belongs to, and whether that user may see the group.
async fn ask(client: &Client, token: &str, namespace: &str, name: &str) -> Result<Admission, kube::Error> {
    let spec = TokenReviewSpec { token: Some(token.to_owned()), ..TokenReviewSpec::default() };
    let review = TokenReview { spec, ..TokenReview::default() };
    let reviewed = Api::<TokenReview>::all(client.clone()).create(&PostParams::default(), &review).await?;
    let user = reviewed.status.filter(|status| status.authenticated == Some(true)).and_then(|of| of.user);
    let Some(UserInfo { username: Some(user), groups, uid, extra }) = user else {
        return Ok(Admission::Unauthenticated(
            "the API server does not accept this token: log in again, or renew it (kubectl create token \
             ACCOUNT)"
                .into(),
        ));
    };
    let text = |text: &str| Some(text.to_owned());
    let resource_attributes = Some(ResourceAttributes {
        group: text("k8s.amaiz.com"),
        resource: text("redis"),
        subresource: text("observation"),
        verb: text("get"),
        namespace: text(namespace),
        name: text(name),
        ..ResourceAttributes::default()
    });
    let spec = SubjectAccessReviewSpec {
        user: Some(user.clone()),
        groups,
        uid,
        extra,
        resource_attributes,
        ..SubjectAccessReviewSpec::default()
    };
    let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
    let reviews = Api::<SubjectAccessReview>::all(client.clone());
    let reviewed = reviews.create(&PostParams::default(), &review).await?;
    if reviewed.status.is_some_and(|status| status.allowed) {
        return Ok(Admission::Granted);
    }
    Ok(Admission::Forbidden(format!(
        "{user} has no right to get redis/observation of {name} in namespace {namespace}: bind ClusterRole \
         redis-operator-view there"
    )))
}

fn key_of(token: &str, namespace: &str, name: &str) -> Key {
    // No part has a zero byte: a header and a path have none.
    let whole = [token, namespace, name].join("\0");
    Sha256::digest(whole).into()
}

/// A right that is taken away, and a token that is revoked, count for so long.
const GRANTED_FOR: Duration = Duration::from_secs(10);
/// A right that is granted counts after so long.
const REFUSED_FOR: Duration = Duration::from_secs(3);
const ANSWERS_MAX: usize = 1024;
/// Two calls each. New tokens are rare: the answers for those in use stand for seconds.
const QUESTIONS_PER_SECOND: u32 = 10;
const QUESTIONS_AT_ONCE: u32 = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::{Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};
    use std::convert::Infallible;
    use std::sync::Arc;

    /// The paths and the specs of what was asked.
    type Asked = Arc<Mutex<Vec<(String, Value)>>>;

    /// Stands in for the API server: `good` is bob's token, who may see shop/cart. Hands on what was asked.
    fn api_server(status: u16) -> (Client, Asked) {
        let asked = Asked::default();
        let of = Arc::clone(&asked);
        let service = tower::service_fn(move |request: Request<Body>| {
            let asked = Arc::clone(&of);
            async move {
                let path = request.uri().path().to_owned();
                let body = request.into_body().collect_bytes().await.unwrap();
                let mut body: Value = serde_json::from_slice(&body).unwrap();
                asked.lock().unwrap().push((path.clone(), body["spec"].clone()));
                if status != 201 {
                    let refusal = json!({
                        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                        "reason": "Forbidden", "message": "tokenreviews is forbidden", "code": status
                    });
                    let response = Response::builder().status(status);
                    return Ok::<_, Infallible>(
                        response.body(Body::from(refusal.to_string().into_bytes())).unwrap(),
                    );
                }
                body["status"] = if path.ends_with("/tokenreviews") {
                    let is_good = body["spec"]["token"] == "good";
                    json!({ "authenticated": is_good, "user": { "username": "bob", "groups": ["devs"], "uid": "u" } })
                } else {
                    json!({ "allowed": body["spec"]["resourceAttributes"]["namespace"] == "shop" })
                };
                Ok(Response::builder().status(201).body(Body::from(body.to_string().into_bytes())).unwrap())
            }
        });
        (Client::new(service, "default"), asked)
    }

    #[tokio::test]
    async fn the_api_server_says_who_may_and_its_answer_stands_for_a_while() {
        let (client, asked) = api_server(201);
        let access = Access::new(client);
        for _ in 0..3 {
            assert_eq!(access.review("good", "shop", "cart").await, Admission::Granted);
        }
        let questions = std::mem::take(&mut *asked.lock().unwrap());
        assert_eq!(questions.len(), 2, "one TokenReview, one SubjectAccessReview: {questions:?}");
        let (path, spec) = &questions[1];
        assert_eq!(path, "/apis/authorization.k8s.io/v1/subjectaccessreviews");
        assert_eq!(
            (&spec["user"], &spec["groups"], &spec["uid"]),
            (&json!("bob"), &json!(["devs"]), &json!("u"))
        );
        let attributes = json!({
            "group": "k8s.amaiz.com", "resource": "redis", "subresource": "observation", "verb": "get",
            "namespace": "shop", "name": "cart"
        });
        assert_eq!(spec["resourceAttributes"], attributes);
        for _ in 0..2 {
            let refused = access.review("good", "bank", "cart").await;
            let Admission::Forbidden(why) = refused else { panic!("{refused:?}") };
            assert!(why.starts_with("bob has no right to get redis/observation of cart in namespace bank"));
        }
        assert_eq!(std::mem::take(&mut *asked.lock().unwrap()).len(), 2);
        assert!(matches!(access.review("bad", "shop", "cart").await, Admission::Unauthenticated(_)));
        assert_eq!(asked.lock().unwrap().len(), 1, "no access is reviewed for nobody");
    }

    #[tokio::test]
    async fn a_missing_right_of_the_operator_is_named_and_asked_for_again() {
        let (client, asked) = api_server(403);
        let access = Access::new(client);
        for _ in 0..2 {
            let Admission::Unavailable(why) = access.review("good", "shop", "cart").await else { panic!() };
            assert!(
                why.contains("tokenreviews is forbidden: grant it ClusterRole redis-operator-reviews"),
                "{why}"
            );
        }
        assert_eq!(asked.lock().unwrap().len(), 2);
    }

    #[tokio::test]
    async fn new_tokens_are_bounded_in_rate_and_known_ones_are_not() {
        let (client, asked) = api_server(201);
        let access = Access::new(client);
        assert_eq!(access.review("good", "shop", "cart").await, Admission::Granted);
        let mut busy = 0;
        for number in 0..200 {
            busy +=
                u32::from(access.review(&format!("bad {number}"), "shop", "cart").await == Admission::Busy);
            assert_eq!(access.review("good", "shop", "cart").await, Admission::Granted);
        }
        assert!(busy > 0 && asked.lock().unwrap().len() < 200);
    }

    #[test]
    fn answers_run_out_and_their_number_is_bounded() {
        let questions = RateLimit::new(1, 1);
        let (mut known, start) = (Known { answers: BTreeMap::new(), questions }, Instant::now());
        let key = |number: usize| key_of(&number.to_string(), "shop", "cart");
        known.keep(key(0), &Admission::Granted, start);
        known.keep(key(1), &Admission::Forbidden(String::new()), start);
        known.keep(key(2), &Admission::Busy, start);
        assert!(known.answer(&key(0), start + GRANTED_FOR / 2).is_some());
        assert_eq!(known.answer(&key(0), start + GRANTED_FOR), None);
        assert_eq!(known.answer(&key(1), start + REFUSED_FOR), None);
        assert_eq!(known.answer(&key(2), start), None);
        for number in 0..3 * ANSWERS_MAX {
            known.keep(key(number), &Admission::Granted, start + Duration::from_micros(number as u64));
            assert!(known.answers.len() <= ANSWERS_MAX);
        }
        assert!(known.answer(&key(3 * ANSWERS_MAX - 1), start).is_some(), "the newest stand");
    }
}
