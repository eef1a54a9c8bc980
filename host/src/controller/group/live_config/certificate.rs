//! A changed certificate, read by running instances without a restart, once the kubelet has brought its
//! files.

use super::super::secrets::Identity;
use crate::kubernetes::objects::AUTHORITIES_FILE;
use crate::redis::{Endpoint, Session, shows_ours};
use std::time::Duration;

/// What to do after an instance has read its files anew.
#[derive(Debug, PartialEq, Eq)]
pub enum CertificateStep {
    /// It shows the wanted certificate.
    Done,
    /// The files may still be on their way: read again later.
    Retry,
    /// The files should be there by now. Retried all the same.
    Overdue(String),
}

/// Has the instance read its files anew, and plans what comes next.
pub async fn reload(
    session: &Session,
    endpoint: &Endpoint,
    identity: &Identity,
    limit: Duration,
) -> CertificateStep {
    let shown = match session.read_certificates(AUTHORITIES_FILE).await {
        Ok(()) => shows_ours(endpoint, &identity.tls, limit).await,
        Err(error) => Err(error),
    };
    plan(shown, identity.since.elapsed(), identity.is_another)
}

/// `shown`: whether the instance shows the wanted certificate, or the refusal. `age`: since the certificate
/// was seen first. `is_another`: an older one was seen before it. Then a match proves nothing until the
/// kubelet's time is over, since other authorities under the same certificate look like the old ones.
fn plan(shown: Result<bool, String>, age: Duration, is_another: bool) -> CertificateStep {
    let is_overdue = age >= KUBELET_TIME_MAX;
    match shown {
        Ok(true) if is_overdue || !is_another => CertificateStep::Done,
        Ok(false) if is_overdue => CertificateStep::Overdue(
            "it shows another certificate than the Secret's: delete the Pod, and it starts with the new one"
                .into(),
        ),
        Err(error) if is_overdue => CertificateStep::Overdue(error),
        Ok(_) | Err(_) => CertificateStep::Retry,
    }
}

/// Until a changed Secret is in the Pods that mount it: its sync period and the time to live of its cache, a
/// minute each.
const KUBELET_TIME_MAX: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_awaited_for_the_kubelet_s_time_and_then_its_absence_is_a_problem() {
        let (soon, late) = (Duration::from_secs(119), KUBELET_TIME_MAX);
        assert_eq!(plan(Ok(true), soon, false), CertificateStep::Done);
        assert_eq!(plan(Ok(true), soon, true), CertificateStep::Retry, "its authorities may be the old ones");
        assert_eq!(plan(Ok(true), late, true), CertificateStep::Done);
        for shown in [Ok(false), Err("refused".to_owned())] {
            assert_eq!(plan(shown, soon, true), CertificateStep::Retry);
        }
        assert!(
            matches!(plan(Ok(false), late, true), CertificateStep::Overdue(why) if why.contains("delete"))
        );
        assert_eq!(plan(Err("refused".into()), late, false), CertificateStep::Overdue("refused".into()));
    }
}
