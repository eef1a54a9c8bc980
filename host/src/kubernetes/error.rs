//! The words of an API error, as conditions and log lines show them. Decides nothing.

/// The API server's own sentence, where it said one.
pub fn message(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        other => other.to_string(),
    }
}
